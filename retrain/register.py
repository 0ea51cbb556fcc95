"""Writes a judged job to the registry: its run in any case, a version only when it passed the gate.

python -m retrain.register --spec SPEC.json
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from msgspec import Struct

from retrain import places, registry, trials
from retrain.datasets import remote, snapshots
from retrain.gate.card import Judged, card
from retrain.gate.report import JSON_FILE, PAGE_FILE, page
from retrain.reproduce.compare import made_with
from retrain.whole import read_object, write_json
from retrain.work import load_settings, run_work, say
from tidemill.evidence import evidence_file, report_page
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
    report: dict[str, Any] = {}
    """The gate's (see retrain.gate.report); empty: none is kept."""
    verdicts: list[dict[str, Any]] = []
    """The gate's, for the model card."""


def write(spec: RegisterSpec) -> dict[str, Any]:
    """``run_id`` and, when accepted, ``version`` and ``adapter_dir`` (the version's own folder); what was it made
    with. May be repeated.

    The model card and what was found behind the alarm go into the run in any case, the card into the version's
    description, too.
    """
    settings = load_settings(spec.settings)
    folder = Path(spec.adapter_dir)
    with_what = made_with()
    data, notes = snapshots.of_job(places.job_dir(settings, spec.job_id)), []
    if data is not None and (problem := remote.tried_again(settings, data)):
        notes.append(f"{problem}; make good with `tidemill data push {spec.job_id[:8]}`")
    tags = spec.tags | remote.tags(settings, spec.job_id)
    say(note="writing the run")
    run_id = registry.log_run(
        settings,
        spec.job_id,
        spec.pipeline,
        tags=tags | {f"tidemill.made_with.{name}": each for name, each in with_what.items()},
        params=spec.params,
        metrics=spec.metrics,
        losses=spec.losses,
        adapter_dir=folder,
        inputs=spec.inputs,
    )
    if spec.report:
        made = _reported(places.report_dir(settings, spec.job_id), spec.report)
        registry.log_files(settings, run_id, registry.GATE, made)
    alarm = evidence_files(settings, spec.pipeline, spec.tags.get("tidemill.alarm_id", ""))
    registry.log_files(settings, run_id, registry.EVIDENCE, alarm)
    if tried := trials.made_for(folder):
        trials.log_trials(settings, run_id, tried)
    manifest = places.data_dir(settings, spec.job_id) / places.MANIFEST_FILE
    if not spec.accepted:
        registry.describe(settings, run_id, "", card(_judged(settings, spec, tags, "", with_what)), manifest)
        return {"run_id": run_id, "made_with": with_what, "notes": notes}
    say(note="registering the version")
    of_version = tags | {"tidemill.rollout_id": derived_id("rollout", spec.job_id)}
    version = registry.register(settings, spec.pipeline, run_id, spec.job_id, of_version)
    registry.describe(settings, run_id, version, card(_judged(settings, spec, tags, version, with_what)), manifest)
    kept = registry.keep(settings, folder, version)
    done = {"run_id": run_id, "version": version, "adapter_dir": str(kept)}
    return done | {"made_with": with_what, "notes": notes}


def evidence_files(settings: Settings, pipeline: str, alarm_id: str) -> list[Path]:
    """What there is by now of an alarm's evidence and its report; none where the pipeline keeps no texts."""
    if not alarm_id or settings.pipelines[pipeline].capture == "off":
        return []
    found = evidence_file(settings.data_dir, alarm_id)
    return [file for file in (found, report_page(settings.data_dir, alarm_id)) if file.is_file()]


def _reported(folder: Path, report: dict[str, Any]) -> list[Path]:
    """The report's files, written for the console; may be repeated."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / JSON_FILE, folder / PAGE_FILE]
    write_json(made[0], report)
    made[1].write_text(page(report), encoding="utf-8")
    return made


def _judged(
    settings: Settings, spec: RegisterSpec, tags: dict[str, str], version: str, with_what: dict[str, str]
) -> Judged:
    job = places.job_dir(settings, spec.job_id)
    return Judged(
        pipeline=spec.pipeline,
        job_id=spec.job_id,
        version=version,
        tags=tags,
        params=spec.params | {f"made with {name}": each for name, each in with_what.items()},
        metrics=spec.metrics,
        scores=spec.report.get("scores") or (read_object(job / "evaluate" / "result.json") or {}).get("scores", {}),
        verdicts=spec.verdicts,
        manifest=read_object(places.data_dir(settings, spec.job_id) / places.MANIFEST_FILE) or {},
        spec=read_object(job / "train" / "spec.json") or {},
    )


if __name__ == "__main__":
    run_work("register", RegisterSpec, write, time.sleep)
