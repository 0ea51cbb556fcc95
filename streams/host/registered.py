"""What is served and what is registered, fetched: the engine's models, files' digests, the registry, the routes.

Every call blocks for some seconds at most; Retry says that something does not answer, so that nothing can be said.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx

from streams.host.served import Adapter, Expected
from tidemill.errors import Quarantine, Retry, without_credentials
from tidemill.events import Route
from tidemill.ids import version_of
from tidemill.io import kafka
from tidemill.settings import Settings
from tidemill.topics import ROUTES

DIGEST_TAG = "tidemill.adapter_digest"
WEIGHTS = "adapter_model.safetensors"
PAGE = 1_000


def loaded(answer: Mapping[str, Any], base: str) -> tuple[list[Adapter], set[str]]:
    """Adapters and all names of an engine's ``/v1/models``; digests are taken of the files here. Blocks while reading.

    An adapter is what names a parent (vLLM's do); where an engine says nothing but names, all but the base's.
    """
    listed = answer.get("data")
    cards = [card for card in listed if isinstance(card, dict) and card.get("id")] if isinstance(listed, list) else []
    adapters = [_adapter(card) for card in cards if card["id"] != base and (card.get("parent") or not card.get("root"))]
    return adapters, {str(card["id"]) for card in cards}


def _adapter(card: Mapping[str, Any]) -> Adapter:
    folder = os.path.abspath(str(card["root"])) if card.get("root") else ""
    digest, gone = _digest(Path(folder)) if folder else (None, False)
    return Adapter(str(card["id"]), folder, str(card.get("parent") or ""), digest, gone)


def _digest(folder: Path) -> tuple[str | None, bool]:
    """SHA-256 of an adapter's weights, and whether they are gone from a place that can be seen."""
    try:
        with (folder / WEIGHTS).open("rb") as weights:
            return hashlib.file_digest(weights, "sha256").hexdigest(), False
    except FileNotFoundError:
        return None, folder.parent.is_dir()
    except (OSError, ValueError):  # an engine may name what is no path at all
        return None, False


class Registry:
    """Digests of registered versions, from MLflow's REST interface."""

    def __init__(self, settings: Settings, *, timeout_s: float = 5.0) -> None:
        url = settings.mlflow_url.rstrip("/") + "/api/2.0/mlflow"
        self._http = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False)

    def digests(self, pipeline: str) -> dict[str, str | None]:
        """By version ``<pipeline>-v<N>`` its digest, None where the registry notes none. Raises Retry."""
        found = (
            (version_of(pipeline, version["version"]), {tag["key"]: tag["value"] for tag in version.get("tags") or ()})
            for version in self._versions(pipeline)
        )
        return {version: tags.get(DIGEST_TAG) or None for version, tags in found}

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _versions(self, pipeline: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            asked: dict[str, str | int] = {"filter": f"name='{pipeline}'", "max_results": PAGE}
            answer = self._ask(asked | ({"page_token": token} if token else {}))
            yield from answer.get("model_versions") or ()
            token = str(answer.get("next_page_token") or "")
            if not token:
                return

    def _ask(self, parameters: Mapping[str, str | int]) -> dict[str, Any]:
        try:
            answer = self._http.get("/model-versions/search", params=dict(parameters))
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            why = without_credentials(str(error)) or type(error).__name__
            raise Retry(f"MLflow does not answer: {why}") from error
        return found


class Routes:
    """The routes as they are now, followed from the topic's beginning."""

    def __init__(self, settings: Settings) -> None:
        """Reads to the end; blocks. Raises Retry without Kafka."""
        self._decode = ROUTES.decoder()
        self._reader = kafka.follower(settings, "tidemill-host", ROUTES)
        self.latest: dict[str, Route] = {}
        for message in kafka.read_to_end(self._reader):
            self._take(message.value())

    def follow(self) -> None:
        """Take in what came since. Blocks for a tenth of a second."""
        while messages := self._reader.consume(500, 0.1):
            for message in messages:
                if message.error() is None:
                    self._take(message.value())

    def close(self) -> None:
        """Let go of the client."""
        self._reader.close()

    def _take(self, value: bytes | None) -> None:
        try:
            route: Route = self._decode(value)
        except Quarantine:
            return
        self.latest[route.pipeline] = route


def expected(
    settings: Settings, engine: str, routes: Mapping[str, Route], registered: Mapping[str, str | None]
) -> Expected:
    """What an engine may and must serve. First champions are known by the settings until they are registered."""
    pipelines = {name: each for name, each in settings.pipelines.items() if each.engine == engine}
    first: dict[str, str | None] = {each.champion: None for each in pipelines.values() if each.champion_adapter}
    routed = set()
    for route in (routes[name] for name in pipelines if name in routes):
        routed |= {arm.model for arm in route.arms if arm.engine == engine}
        if route.shadow is not None and route.shadow.engine == engine:
            routed.add(route.shadow.model)
    lies = {version: str(settings.data_dir.absolute() / "adapters" / version) for version in registered}
    lies |= {
        each.champion: str(settings.resolve(each.champion_adapter))
        for each in pipelines.values()
        if each.champion in first
    }
    return Expected({**first, **registered}, routed, settings.engines[engine].base_model, lies)
