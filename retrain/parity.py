"""Does the adapter load in the engine, answer there as it did in training, and as fast and cheaply as the champion?

    python -m retrain.parity --spec SPEC.json

The adapter is loaded under a temporary name that names its content, asked at low priority, and unloaded again.
"""

from __future__ import annotations

import time
from typing import Any

import httpx
from msgspec import Struct

from retrain.gate.asking import Asker, EngineRefused, Smoke, post
from retrain.work import load_settings, run_work, say
from tidemill.errors import Retry
from tidemill.settings.keys import engine_key

MAX_BROKEN = 3
"""Times the engine may break while the adapter is loaded and asked; then it is the adapter's fault."""


class ParitySpec(Struct, frozen=True, kw_only=True):
    """One comparison. ``samples`` hold prompt and answer as scored in training."""

    settings: str
    job_id: str
    pipeline: str
    adapter_dir: str
    adapter_digest: str
    samples: list[dict[str, str]]
    champion: str = ""
    """The name under which the engine serves the champion; empty: time and cost are not compared."""


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
            post(http, "/load_lora_adapter", {"lora_name": name, "lora_path": spec.adapter_dir})
            try:
                return _asked(Asker(http, pipeline), name, spec, Smoke(engine), pipeline.gate.smoke_samples)
            except Retry as error:
                raise BrokenUnderIt(str(error)) from error
        except EngineRefused as error:
            return {"asked": 0, "equal": 0, "problem": str(error)[:500]}
        finally:
            _unload(http, name)


def temporary_name(spec: ParitySpec) -> str:
    """Never the same name for different weights: engines keep caches by name."""
    return f"gate-{spec.job_id[:8]}-{spec.adapter_digest[:8]}"


def _asked(asker: Asker, name: str, spec: ParitySpec, smoke: Smoke, most: int) -> dict[str, Any]:
    """The candidate is asked everything, the champion the first ``most`` prompts and one more, in turn with it.

    The first pair loads the adapter, and is not compared. Who goes first changes from prompt to prompt.
    """
    equal, refused = 0, ""
    for done, sample in enumerate(spec.samples):
        prompt, told = sample["prompt"], {}
        compares = bool(spec.champion and most and done <= most and not refused)
        for model in (spec.champion, name) if done % 2 else (name, spec.champion):
            if model == name:
                told[model] = asker.ask(model, prompt)
            elif compares:
                try:
                    told[model] = asker.ask(model, prompt)
                except (EngineRefused, Retry) as error:
                    refused = str(error)[:300]
        if done and spec.champion in told:
            smoke.note(told[name], told[spec.champion])
        equal += told[name].text.split() == sample["answer"].split()
        say(step=done + 1, of=len(spec.samples), note="comparing the engine's answers")
    made = {"asked": len(spec.samples), "equal": equal, "ratios": smoke.ratios}
    return made | ({"champion_refused": refused} if refused else {})


def _unload(http: httpx.Client, name: str) -> None:
    try:
        post(http, "/unload_lora_adapter", {"lora_name": name})
    except (EngineRefused, Retry):
        pass  # not loaded, or the engine is away and has forgotten it


if __name__ == "__main__":
    run_work("parity", ParitySpec, Comparison(), time.sleep)
