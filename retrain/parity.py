"""Does the adapter load in the engine, and answer there as it did in training?

    python -m retrain.parity --spec SPEC.json

The adapter is loaded under a temporary name that names its content, asked at low priority, and unloaded again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import httpx
from msgspec import Struct

from retrain.work import load_settings, run_work, say
from tidemill.errors import Retry
from tidemill.settings import PipelineSettings
from tidemill.settings.keys import engine_key

LOW_PRIORITY = 100
"""Above the clients' 0: the engine answers everybody else first."""
MAX_BROKEN = 3
"""Times the engine may break while the adapter is loaded and asked; then it is the adapter's fault."""
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


class ParitySpec(Struct, frozen=True, kw_only=True):
    """One comparison. ``samples`` hold prompt and answer as scored in training."""

    settings: str
    job_id: str
    pipeline: str
    adapter_dir: str
    adapter_digest: str
    samples: list[dict[str, str]]


class EngineRefused(Exception):
    """The engine said no; the message holds its words."""


class Comparison:
    """Compares once; called again after each Retry, it knows how often the engine broke under the adapter."""

    def __init__(self) -> None:
        self._broken = 0

    def __call__(self, spec: ParitySpec) -> dict[str, Any]:
        """How many were asked and how many answers are equal; ``problem`` when the engine does not take the adapter,
        or breaks under it again and again. Raises Retry while the engine is away.
        """
        try:
            return compare(spec)
        except BrokenUnderIt as error:
            self._broken += 1
            if self._broken < MAX_BROKEN:
                raise
            return {"asked": 0, "equal": 0, "problem": f"{self._broken} times with it loaded: {error}"[:500]}


class BrokenUnderIt(Retry):
    """The engine took the adapter and then broke, or did not answer in time."""


def compare(spec: ParitySpec) -> dict[str, Any]:
    """One comparison, as Comparison says. Raises Retry, BrokenUnderIt once the adapter was loaded."""
    settings = load_settings(spec.settings)
    pipeline = settings.pipelines[spec.pipeline]
    engine = settings.engines[pipeline.engine]
    key = engine_key(engine, pipeline.engine)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    name = temporary_name(spec)
    url = settings.engine_url(pipeline.engine)
    with httpx.Client(base_url=url, headers=headers, timeout=60.0, trust_env=False) as http:
        _unload(http, name)  # a try before this one may have left it
        try:
            _post(http, "/load_lora_adapter", {"lora_name": name, "lora_path": spec.adapter_dir})
            try:
                return _asked(http, name, pipeline, spec.samples)
            except Retry as error:
                raise BrokenUnderIt(str(error)) from error
        except EngineRefused as error:
            return {"asked": 0, "equal": 0, "problem": str(error)[:500]}
        finally:
            _unload(http, name)


def temporary_name(spec: ParitySpec) -> str:
    """Never the same name for different weights: engines keep caches by name."""
    return f"gate-{spec.job_id[:8]}-{spec.adapter_digest[:8]}"


def _asked(http: httpx.Client, name: str, pipeline: PipelineSettings, samples: list[dict[str, str]]) -> dict[str, Any]:
    equal, extra = 0, {"priority": LOW_PRIORITY}
    system = [{"role": "system", "content": pipeline.system_prompt}] if pipeline.system_prompt else []
    for done, sample in enumerate(samples):
        body = {
            "model": name,
            "messages": [*system, {"role": "user", "content": sample["prompt"]}],
            "max_tokens": pipeline.max_tokens,
            "temperature": 0.0,
        }
        try:
            answer = _post(http, "/chat/completions", body | extra)
        except EngineRefused as error:
            if not extra or "priority" not in str(error):
                raise
            extra = {}  # this engine schedules first come, first served
            answer = _post(http, "/chat/completions", body)
        text = answer["choices"][0]["message"].get("content") or ""
        equal += text.split() == sample["answer"].split()
        say(step=done + 1, of=len(samples), note="comparing the engine's answers")
    return {"asked": len(samples), "equal": equal}


def _unload(http: httpx.Client, name: str) -> None:
    try:
        _post(http, "/unload_lora_adapter", {"lora_name": name})
    except (EngineRefused, Retry):
        pass  # not loaded, or the engine is away and has forgotten it


def _post(http: httpx.Client, path: str, body: Mapping[str, Any]) -> Any:
    try:
        answer = http.post(path.lstrip("/"), json=dict(body))
    except httpx.HTTPError as error:
        raise Retry(f"the engine does not answer: {error}") from error
    loading = path == "/load_lora_adapter"  # an engine that breaks on loading would break again
    if answer.status_code in _BUSY and not (loading and answer.status_code == 500):
        raise Retry(f"the engine answered {answer.status_code}")
    if answer.status_code != 200:
        raise EngineRefused(f"the engine answered {answer.status_code}: {answer.text[:300]}")
    return answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}


if __name__ == "__main__":
    run_work("parity", ParitySpec, Comparison(), time.sleep)
