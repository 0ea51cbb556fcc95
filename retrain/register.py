"""Writes a judged job to the registry: its run in any case, a version only when it passed the gate.

python -m retrain.register --spec SPEC.json
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from retrain import places, registry, trials
from retrain.card import Judged, card
from retrain.work import load_settings, run_work, say
from tidemill.ids import derived_id
from tidemill.settings import Settings


class RegisterSpec(Struct, frozen=True, kw_only=True):
    """One judged job. ``losses`` are (step, loss); ``accepted`` says whether it becomes a version."""

    settings: str
    job_id: str
    pipeline: str
    accepted: bool
    adapter_dir: str
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    losses: list[tuple[int, float]]
    inputs: list[registry.Input] = []
    verdicts: list[dict[str, Any]] = []
    """The gate's, for the model card."""


def write(spec: RegisterSpec) -> dict[str, Any]:
    """``run_id`` and, when accepted, ``version`` and ``adapter_dir`` (the version's own folder). May be repeated.

    The model card goes into the run in any case, and into the version's description.
    """
    settings = load_settings(spec.settings)
    folder = Path(spec.adapter_dir)
    say(note="writing the run")
    run_id = registry.log_run(
        settings,
        spec.job_id,
        spec.pipeline,
        tags=spec.tags,
        params=spec.params,
        metrics=spec.metrics,
        losses=spec.losses,
        adapter_dir=folder,
        inputs=spec.inputs,
    )
    if made := trials.made_for(folder):
        trials.log_trials(settings, run_id, made)
    manifest = places.data_dir(settings, spec.job_id) / places.MANIFEST_FILE
    if not spec.accepted:
        registry.describe(settings, run_id, "", card(_judged(settings, spec, "")), manifest)
        return {"run_id": run_id}
    say(note="registering the version")
    tags = spec.tags | {"tidemill.rollout_id": derived_id("rollout", spec.job_id)}
    version = registry.register(settings, spec.pipeline, run_id, spec.job_id, tags)
    registry.describe(settings, run_id, version, card(_judged(settings, spec, version)), manifest)
    return {"run_id": run_id, "version": version, "adapter_dir": str(registry.keep(settings, folder, version))}


def _judged(settings: Settings, spec: RegisterSpec, version: str) -> Judged:
    job = places.job_dir(settings, spec.job_id)
    return Judged(
        pipeline=spec.pipeline,
        job_id=spec.job_id,
        version=version,
        tags=spec.tags,
        params=spec.params,
        metrics=spec.metrics,
        scores=_json(job / "evaluate" / "result.json").get("scores", {}),
        verdicts=spec.verdicts,
        manifest=_json(places.data_dir(settings, spec.job_id) / places.MANIFEST_FILE),
        spec=_json(job / "train" / "spec.json"),
    )


def _json(file: Path) -> dict[str, Any]:
    """A file that the card can do without: empty where it cannot be read."""
    try:
        found = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return found if isinstance(found, dict) else {}


if __name__ == "__main__":
    run_work("register", RegisterSpec, write, time.sleep)
