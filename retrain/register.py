"""Writes a judged job to the registry: its run in any case, a version only when it passed the gate.

python -m retrain.register --spec SPEC.json
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from retrain import places, registry
from retrain.report import JSON_FILE, PAGE_FILE, page
from retrain.work import load_settings, run_work, say, write_json


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
    report: dict[str, Any] = {}
    """The gate's (see retrain.report); empty: none is kept."""


def write(spec: RegisterSpec) -> dict[str, Any]:
    """``run_id`` and, when accepted, ``version`` and ``adapter_dir`` (the version's own folder). May be repeated."""
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
    if spec.report:
        registry.log_report(settings, run_id, _reported(places.report_dir(settings, spec.job_id), spec.report))
    if not spec.accepted:
        return {"run_id": run_id}
    say(note="registering the version")
    version = registry.register(settings, spec.pipeline, run_id, spec.job_id, spec.tags)
    return {"run_id": run_id, "version": version, "adapter_dir": str(registry.keep(settings, folder, version))}


def _reported(folder: Path, report: dict[str, Any]) -> list[Path]:
    """The report's files, written for the console; may be repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / JSON_FILE, folder / PAGE_FILE]
    write_json(made[0], report)
    made[1].write_text(page(report), encoding="utf-8")
    return made


if __name__ == "__main__":
    run_work("register", RegisterSpec, write, time.sleep)
