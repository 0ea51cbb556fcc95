"""Data sets in the remote that DVC keeps: pushed when they are frozen, brought back when their folder is gone.

Beside a job's data set lies ``data.dvc``, in DVC's own format; its being there means that the remote has the data set.
The data set itself, and so its manifest and digest, are never touched.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from pydantic import ValidationError

from retrain import places, registry
from retrain.datasets import dvc
from retrain.datasets.snapshots import FILES, Snapshot, known, of_job
from retrain.whole import read_object, write_json
from tidemill.clock import Clock, SystemClock
from tidemill.errors import Retry, Stop
from tidemill.ids import pipeline_and_number
from tidemill.settings import Settings
from tidemill.settings.dvc import DvcSettings

log = logging.getLogger(__name__)
HASH_TAG, REMOTE_TAG, DIGEST_TAG = "tidemill.dvc", "tidemill.dvc_remote", "tidemill.data_digest"
NOT_YET = "not pushed"
AGAIN_MS = 3_600_000
"""How long a job takes it for granted that the remote is still away."""
_CLOCK = SystemClock()
_NAMES = {*FILES.values(), places.MANIFEST_FILE}
_LEAST_NAMED = 6
_HEX = re.compile(r"[0-9a-f]{32,64}(\.dir)?")


class Kept(Struct, frozen=True, kw_only=True):
    """A data set as the remote has it. ``digest`` is its rows' (the manifest's), ``hash`` what DVC calls the folder."""

    job_id: str
    digest: str
    hash: str
    remote: str
    size: int = 0


def kept(settings: Settings, job_id: str) -> Kept | None:
    """What is known of a job's data set in the remote; None: nothing, it was not pushed as it is now."""
    found = dvc.read(pointer(settings, job_id))
    if found is None or not found.meta.get("digest"):
        return None
    told = {name: str(found.meta.get(name, "")) for name in ("digest", "remote")}
    here = of_job(places.job_dir(settings, job_id))
    if here is not None and here.manifest["digest"] != told["digest"]:
        return None
    return Kept(job_id=job_id, hash=found.hash, size=found.size, **told)


def pointer(settings: Settings, job_id: str) -> Path:
    """DVC's file beside a job's data set."""
    return places.job_dir(settings, job_id) / places.POINTER_FILE


def push(settings: Settings, made: Snapshot) -> Kept:
    """Push the data set to ``dvc.remote``, and write that down once it is there. Blocks; may be repeated.

    Raises Retry (the remote is away, or refuses; a file cannot be read or written; the data set was made anew
    meanwhile), Stop (no DVC, or the files are not what their digest says).
    """
    if not made.intact():
        raise Stop(f"{made.folder} is not what its manifest's digest says; somebody has changed the files")
    remote, digest = at(settings, settings.dvc.remote), str(made.manifest["digest"])
    with dvc.workspace(_root(settings), remote, settings.dvc.timeout_s) as workspace:
        pushed = workspace.push(Path(made.folder))
        now = of_job(places.job_dir(settings, made.job_id))
        if now is None or now.manifest["digest"] != digest:
            raise Retry(f"{made.folder} was made anew while it was pushed")
        found = Kept(job_id=made.job_id, digest=digest, hash=pushed.hash, remote=settings.dvc.remote, size=pushed.size)
        _note(settings, found, pushed.files)
    return found


def tried(settings: Settings, made: Snapshot, clock: Clock = _CLOCK) -> str:
    """Push it where a remote is set and does not have it yet; why not, where that does not work: the job goes on."""
    if not settings.dvc.remote or not lacks(settings, made.job_id):
        return ""
    try:
        push(settings, made)
    except (Retry, Stop) as error:
        log.warning("data set of job %s not pushed: %s", made.job_id[:8], error, extra={"job_id": made.job_id})
        why = f"data set {NOT_YET} to dvc.remote: {error}"
        with suppress(OSError):
            write_json(_missed(settings, made.job_id), {"at_ms": clock.now_ms(), "why": why})
        return why
    return ""


def tried_again(settings: Settings, made: Snapshot, clock: Clock = _CLOCK) -> str:
    """The same once more, unless the last try was in vain less than AGAIN_MS ago: a remote that swallows packets costs
    ``dvc.timeout_s`` each time."""
    last = read_object(_missed(settings, made.job_id)) or {}
    soon = 0 <= clock.now_ms() - int(last.get("at_ms", 0)) < AGAIN_MS
    if soon and settings.dvc.remote and lacks(settings, made.job_id):
        return str(last["why"])
    return tried(settings, made, clock)


def lacks(settings: Settings, job_id: str) -> bool:
    """Whether ``dvc.remote``, as it is set now, is not known to have the job's data set."""
    found = kept(settings, job_id)
    return found is None or found.remote != settings.dvc.remote


def tags(settings: Settings, job_id: str) -> dict[str, str]:
    """What the registry is told of a job's data set in the remote; nothing where none is set."""
    if not settings.dvc.remote:
        return {}
    found = kept(settings, job_id)
    return {HASH_TAG: NOT_YET} if found is None else {HASH_TAG: found.hash, REMOTE_TAG: found.remote}


def tell_registry(settings: Settings, job_id: str) -> None:
    """The same to the job's run and version, where there are any. May be repeated; raises Retry (MLflow away)."""
    made = read_object(places.job_dir(settings, job_id) / "register" / "result.json") or {}
    if made.get("run_id"):
        try:
            _tag(settings, str(made["run_id"]), str(made.get("version", "")), tags(settings, job_id))
        except Retry as error:
            raise Retry(f"pushed, but {error}; `tidemill data push {job_id[:8]}` tells MLflow, too") from error


@registry.mapped
def _tag(settings: Settings, run_id: str, version: str, told: dict[str, str]) -> None:
    mlflow = registry.client(settings)
    for name, value in told.items():
        mlflow.set_tag(run_id, name, value)
        if version:
            mlflow.set_model_version_tag(*pipeline_and_number(version), name, value)


def find(settings: Settings, name: str) -> Kept:
    """The data set of a version, a job, a digest or a hash of DVC (their beginnings do), pushed from here or, whole
    names only, known to the registry. Raises Stop where there is none or several, Retry while MLflow is away."""
    jobs = places.jobs_dir(settings)
    here = [kept(settings, folder.name) for folder in sorted(jobs.iterdir())] if jobs.is_dir() else []
    fitting = [each for each in here if each is not None and _is(settings, each, name)]
    if len({each.hash for each in fitting}) > 1:
        raise Stop(f"{name!r} fits {len(fitting)} data sets: those of jobs {', '.join(e.job_id for e in fitting)}")
    if fitting:
        return fitting[0]
    if (found := _registered(settings, name)) is not None:
        return found
    raise Stop(
        f"no data set {name!r} that was pushed is known, neither under {jobs} nor to MLflow; give a version, a job, or "
        f"what the tags {DIGEST_TAG} and {HASH_TAG} of a run say"
    )


def bring_back(settings: Settings, name: str, remote: str = "") -> Snapshot:
    """Put a data set whose folder is gone back into its job's folder, as it was, whole or not at all.

    ``remote``: in place of the one it was pushed to. What MLflow's tags say of it is only believed where it is
    ``dvc.remote``, and where the job's result is here, its digest must be that one. Raises Stop or Retry.
    """
    found = find(settings, name)
    target = places.data_dir(settings, found.job_id)
    if target.exists():
        raise Stop(f"{target} is there; see `tidemill data show {found.job_id[:8]}`, and move it away to have it anew")
    frozen = read_object(places.job_dir(settings, found.job_id) / "snapshot" / "result.json") or {}
    if frozen.get("digest", found.digest) != found.digest:
        raise Stop(f"job {found.job_id} has made a data set with digest {frozen['digest']}, not {found.digest}")
    believed = found.remote == settings.dvc.remote or found == kept(settings, found.job_id)
    if not remote and not (found.remote and believed):
        raise Stop(f"MLflow says that {found.remote!r} has it, which is not dvc.remote; if you trust it, give --remote")
    try:
        told = DvcSettings(remote=remote or found.remote, timeout_s=settings.dvc.timeout_s)
    except ValidationError as error:
        raise Stop(f"--remote: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from error
    if fault := dvc.fault(told):
        raise Stop(fault)
    with dvc.workspace(_root(settings), at(settings, told.remote), told.timeout_s) as workspace:
        folder = workspace.pull(found.hash, _NAMES)
        manifest = read_object(folder / places.MANIFEST_FILE) or {}
        brought = Snapshot(job_id=found.job_id, version="", folder=str(folder), manifest=manifest)
        if manifest.get("digest") != found.digest or not brought.intact():
            raise Stop(f"what {told.remote} gave is not the data set with digest {found.digest}")
        target.parent.mkdir(parents=True, exist_ok=True)
        size = sum(file.stat().st_size for file in folder.iterdir())
        _note(settings, replace(found, remote=told.remote, size=size), len(_NAMES))
        folder.rename(target)
    return next(each for each in known(settings) if each.job_id == found.job_id)


def at(settings: Settings, remote: str) -> str:
    """Where DVC finds the remote. Raises Retry where it is a folder that is not there: DVC would make it, also where
    a disk is not mounted."""
    if "://" in remote:
        return remote
    folder = settings.resolve(remote)
    try:
        there = folder.is_dir()
    except OSError as error:
        raise Retry(f"{folder} (dvc.remote) cannot be used: {error.strerror}") from error
    if not there:
        raise Retry(f"there is no folder {folder} (dvc.remote); make it, or mount its disk")
    return str(folder)


def _root(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "dvc"


def _missed(settings: Settings, job_id: str) -> Path:
    return places.job_dir(settings, job_id) / places.MISSED_FILE


def _note(settings: Settings, found: Kept, files: int) -> None:
    meta = {"digest": found.digest, "remote": found.remote, "by": "tidemill"}
    made = dvc.Pointer(hash=found.hash, size=found.size, files=files, meta=meta)
    dvc.write(pointer(settings, found.job_id), made)


def _is(settings: Settings, each: Kept, name: str) -> bool:
    result = read_object(places.job_dir(settings, each.job_id) / "register" / "result.json") or {}
    begins = len(name) >= _LEAST_NAMED and any(whole.startswith(name) for whole in (each.digest, each.hash))
    return begins or result.get("version") == name or (bool(name) and each.job_id.startswith(name))


@registry.mapped
def _registered(settings: Settings, name: str) -> Kept | None:
    """The data set as tags of a run or version name it; None where there is none that was pushed."""
    mlflow = registry.client(settings)
    found: list[dict[str, Any]] = []
    if _HEX.fullmatch(name):
        experiment = mlflow.get_experiment_by_name(settings.mlflow.experiment)
        for tag in (DIGEST_TAG, HASH_TAG, registry.JOB_TAG) if experiment else ():
            runs = mlflow.search_runs([experiment.experiment_id], f"tags.`{tag}` = '{name}'", max_results=1)
            found += [run.data.tags for run in runs]
    elif _is_version(settings, name):
        pipeline, number = pipeline_and_number(name)
        versions = mlflow.search_model_versions(f"name = '{pipeline}'", max_results=10_000)
        found += [each.tags for each in versions if each.version == number]
    for tags in found:
        job, name = str(tags.get(registry.JOB_TAG, "")), str(tags.get(HASH_TAG, ""))
        if _HEX.fullmatch(job) and _HEX.fullmatch(name):  # they name folders, and anybody may write tags
            told = {"digest": tags.get(DIGEST_TAG, ""), "remote": tags.get(REMOTE_TAG, "")}
            return Kept(job_id=job, hash=name, **told)
    return None


def _is_version(settings: Settings, name: str) -> bool:
    return any(re.fullmatch(re.escape(each) + r"-v\d+", name) for each in settings.pipelines)
