"""Where a job keeps its files: everything it did can be read again after a restart.

<data_dir>/jobs/<job id>/settings.json     the settings it works by
<data_dir>/jobs/<job id>/data/             train.jsonl, verified.jsonl, manifest.json (made whole or not at all)
<data_dir>/jobs/<job id>/data.dvc          what DVC calls it, once dvc.remote has it
<data_dir>/jobs/<job id>/data.missed       when the last push was in vain, and why
<data_dir>/jobs/<job id>/adapter/          the trained adapter (made whole or not at all)
<data_dir>/jobs/<job id>/gate/             report.json, report.html
<data_dir>/jobs/<job id>/<work>/           one piece of work: spec.json, result.json, stdout.jsonl, log.txt, pid
"""

from __future__ import annotations

from pathlib import Path

from tidemill.settings import Settings
from tidemill.settings.versions import model_version

TRAIN_FILE = "train.jsonl"
VERIFIED_FILE = "verified.jsonl"
MANIFEST_FILE = "manifest.json"
POINTER_FILE = "data.dvc"
MISSED_FILE = "data.missed"


def jobs_dir(settings: Settings) -> Path:
    """Where every job has its folder, absolute."""
    return settings.data_dir.absolute() / "jobs"


def job_dir(settings: Settings, job_id: str) -> Path:
    """The folder of one job, absolute."""
    return jobs_dir(settings) / job_id


def data_dir(settings: Settings, job_id: str) -> Path:
    """The folder of a job's data set."""
    return job_dir(settings, job_id) / "data"


def candidate_dir(settings: Settings, job_id: str) -> Path:
    """The folder of the adapter as trained, before it has a version."""
    return job_dir(settings, job_id) / "adapter"


def report_dir(settings: Settings, job_id: str) -> Path:
    """The folder of the gate's report on a job's candidate."""
    return job_dir(settings, job_id) / "gate"


def version_dir(settings: Settings, version: str) -> Path:
    """The folder of a registered version's adapter; never changed once there."""
    return settings.data_dir.absolute() / "adapters" / version


def base_dir(settings: Settings, pipeline: str) -> Path:
    """The folder of the base model that the pipeline's adapters belong to."""
    named = settings.engines[settings.pipelines[pipeline].engine].base_dir
    return settings.resolve(named) if named else settings.data_dir.absolute() / "models" / "base"


def champion_dir(settings: Settings, pipeline: str, version: str) -> Path | None:
    """The folder of the serving adapter, of a prompt or an index that of its model; None when there is none."""
    chosen = settings.pipelines[pipeline]
    model = model_version(chosen, version)
    if (declared := chosen.versions.get(model)) is not None:
        return settings.resolve(declared.adapter) if declared.adapter else None
    if model != chosen.champion:
        return version_dir(settings, model)
    return settings.resolve(chosen.champion_adapter) if chosen.champion_adapter else None


def orders_dir(settings: Settings) -> Path:
    """Where a person's orders wait for the controller."""
    return settings.data_dir.absolute() / "orders"
