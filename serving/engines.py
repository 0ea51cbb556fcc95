"""One engine's HTTP interface: models, adapters in and out (vLLM, or a provider with the same routes).

Used by the rollout controller; the gateway's hot path has a client of its own, and so has the gate (`retrain.parity`).
Every call blocks for at most ``timeout_s``. Nothing here is retried: the caller reconciles.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tidemill.errors import Retry, Stop, TidemillError
from tidemill.settings import Settings
from tidemill.settings.keys import engine_key
from tidemill.settings.model import EngineSettings

MODEL_NOT_FOUND = 404


class EngineRefused(TidemillError):
    """The engine answered and said no: asking the same again will not help. ``status`` is the HTTP status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def api_key(engine: EngineSettings, name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The upstream's key from the variable that the settings name; empty when they name none. Raises Stop if it is
    unset, or cannot be sent.
    """
    key = engine_key(engine, name, environ)
    if engine.api_key_env and not key:
        raise Stop(
            f"engines.{name}.api_key_env names {engine.api_key_env}, which is not set; "
            "export the upstream's key in it or leave the setting empty"
        )
    return key


class Engine:
    """A blocking client of one engine. Safe to share between threads; close it, or use it as a context manager.

    Raises Retry when the engine does not answer (starting, overloaded, away) and EngineRefused when it says no
    (500 included: that is how vLLM answers an adapter it cannot load).
    """

    def __init__(self, name: str, url: str, *, kind: str = "vllm", key: str = "", timeout_s: float = 10.0) -> None:
        self.name = name
        self.url = url.rstrip("/")
        self.kind = kind
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._http = httpx.Client(headers=headers, timeout=timeout_s, trust_env=False)

    @classmethod
    def from_settings(cls, settings: Settings, name: str, *, timeout_s: float = 10.0) -> Engine:
        """The client of ``engines.<name>``."""
        engine = settings.engines[name]
        return cls(name, settings.engine_url(name), kind=engine.kind, key=api_key(engine, name), timeout_s=timeout_s)

    def models(self) -> frozenset[str]:
        """Names it serves now: the base and every loaded adapter."""
        return frozenset(str(model["id"]) for model in self._ask("GET", "/models").get("data", ()))

    def load(self, model: str, folder: Path | str) -> bool:
        """Load the adapter in ``folder`` (as the engine sees it) under the name ``model``; False if it was there.

        May be repeated: one name always means one folder, so a name that is there already is the same adapter.
        """
        self._must_hold_adapters(f"load {model}")
        try:
            self._ask("POST", "/load_lora_adapter", {"lora_name": model, "lora_path": str(folder)})
        except EngineRefused:
            if model in self.models():
                return False
            raise
        return True

    def unload(self, model: str) -> bool:
        """Take an adapter out; False if it was not there. May be repeated. Drain it first: calls on it would fail."""
        self._must_hold_adapters(f"unload {model}")
        try:
            self._ask("POST", "/unload_lora_adapter", {"lora_name": model})
        except EngineRefused as error:
            if error.status == MODEL_NOT_FOUND or model not in self.models():
                return False
            raise
        return True

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _must_hold_adapters(self, wish: str) -> None:
        if self.kind != "vllm":
            raise Stop(f"cannot {wish}: engines.{self.name}.kind is {self.kind!r}; only 'vllm' engines take adapters")

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        where = f"engine {self.name} at {self.url}"
        try:
            answer = self._http.request(method, self.url + path, json=body)
        except httpx.HTTPError as error:
            raise Retry(f"{where} does not answer {path}: {error or type(error).__name__}") from error
        if answer.status_code in (408, 429) or answer.status_code > 500:
            raise Retry(f"{where}: {path} gave {answer.status_code}: {_message(answer)}")
        if answer.status_code >= 400:
            raise EngineRefused(f"{where}: {path} gave {answer.status_code}: {_message(answer)}", answer.status_code)
        try:
            found = answer.json()
        except ValueError:
            return {}  # vLLM's adapter routes answer in plain text
        return found if isinstance(found, dict) else {}


def _message(answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        return str(error["message"])[:300]
    except (ValueError, KeyError, TypeError):
        return answer.text[:300]
