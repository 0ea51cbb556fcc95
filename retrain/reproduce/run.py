"""Trains a version again in a process of its own, from the files of its job, and scores it as its gate did."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from retrain import adapter, places
from retrain.alone import Report, run_alone
from retrain.datasets.snapshots import Snapshot, find
from retrain.reproduce.compare import Reproduced, differences, made_with, weights
from retrain.whole import read_object
from tidemill.errors import Stop
from tidemill.settings import Settings

TRAINER, SCORER = "retrain.train.run", "retrain.evaluate"
MODEL = "model.safetensors"


def reproduce(settings: Settings, name: str, scratch: Path, report: Report, *, scored: bool = True) -> Reproduced:
    """The version (or job) ``name`` trained again into ``scratch``, an empty folder. Blocks for as long as a training.

    Raises Stop where something that the first training had is gone or has changed, and says what.
    """
    snapshot = find(settings, name)
    job = places.job_dir(settings, snapshot.job_id)
    told, result = _needed(job / "train" / "spec.json"), _needed(_result(job))
    if "adapter_sha256" not in result:
        raise Stop(f"job {snapshot.job_id} trained nothing: {result.get('refused', 'its result has no weights')}")
    pipeline = str(snapshot.manifest["pipeline"])
    base = _base(settings, snapshot, pipeline, told)
    if not snapshot.intact():
        raise Stop(f"{snapshot.folder} is not what its manifest's digest says; bring the files back from a copy")
    out = scratch / "again"
    spec = told | {"base": str(base), "dataset": str(Path(snapshot.folder) / places.TRAIN_FILE), "out": str(out)}
    run_alone(TRAINER, spec, scratch / "train", report)
    again = _needed(out / adapter.RESULT)
    if "refused" in again:
        raise Stop(f"the training refuses what it took the first time: {again['refused']}")
    both = (str(result["adapter_sha256"]), str(again["adapter_sha256"]))
    compared = weights(_weights(_kept(settings, snapshot, job)), _weights(out), both)
    scores = _scores(job, base, out, both[1], scratch, report) if scored else {}
    before = (read_object(job / "register" / "result.json") or {}).get("made_with", {})
    return Reproduced(
        version=snapshot.version,
        job_id=snapshot.job_id,
        data_digest=str(snapshot.manifest["digest"]),
        base_digest=str(snapshot.manifest["base_digest"]),
        weights=compared,
        scores=scores,
        differences=differences(compared, result, again, scores, (before, made_with())),
    )


def _base(settings: Settings, snapshot: Snapshot, pipeline: str, told: Mapping[str, Any]) -> Path:
    base = Path(str(told["base"]))
    if not base.is_dir():
        if pipeline not in settings.pipelines:
            raise Stop(f"{base} is gone, and the settings have no pipeline {pipeline!r} to take its base from")
        base = places.base_dir(settings, pipeline)
    try:
        digest = adapter.base_digest(base)
    except FileNotFoundError as error:
        raise Stop(f"the base is gone: {error}") from error
    recorded = snapshot.manifest.get("base_digest")
    if digest != recorded:
        raise Stop(f"{base} is another base ({digest[:12]}) than the version was trained on ({str(recorded)[:12]})")
    return base


def _scores(
    job: Path, base: Path, out: Path, digest: str, scratch: Path, report: Report
) -> dict[str, tuple[float | None, float | None]]:
    spec = read_object(job / "evaluate" / "spec.json")
    before = means(read_object(job / "evaluate" / "result.json") or {})
    if not spec or not before:
        return {}
    folder = scratch / "evaluate"
    told = spec | {"base": str(base), "candidate": str(out), "candidate_digest": digest}
    run_alone(SCORER, told, folder, report)
    found = _needed(folder / "result.json")
    if found.get("problems"):
        raise Stop(f"what was trained again cannot be scored: {'; '.join(found['problems'])}")
    now = means(found)
    return {name: (mean, now.get(name)) for name, mean in before.items()}


def means(evaluated: Mapping[str, Any]) -> dict[str, float | None]:
    """Mean scores by <model>/<data set> of what a scoring left: (candidate's, champion's) scores of each row."""
    made: dict[str, float | None] = {}
    for name, rows in evaluated.get("paired", {}).items():
        for place, model in enumerate(("candidate", "champion")):
            made[f"{model}/{name}"] = sum(row[place] for row in rows) / len(rows) if rows else None
    return made


def _kept(settings: Settings, snapshot: Snapshot, job: Path) -> Path:
    """The folder of the weights as first trained: the version's own, else the job's."""
    version = places.version_dir(settings, snapshot.version) if snapshot.version else job / "adapter"
    return version if version.is_dir() else job / "adapter"


def _weights(folder: Path) -> Path:
    return folder / adapter.WEIGHTS if (folder / adapter.WEIGHTS).is_file() else folder / MODEL


def _result(job: Path) -> Path:
    return job / "adapter" / adapter.RESULT


def _needed(file: Path) -> dict[str, Any]:
    found = read_object(file) or {}
    if not found:
        raise Stop(f"{file} is gone or cannot be read; a version is trained again from the files of its job")
    return found
