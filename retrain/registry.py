"""The model registry: one MLflow run per job, one version per accepted candidate, with its lineage.

MLflow is imported inside the functions (seconds). Everything may be repeated: a run and a version are found again by
the job's id. Raises Retry while MLflow is away.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from msgspec import Struct

from retrain import adapter, places
from tidemill.errors import Retry, Stop, without_credentials
from tidemill.ids import pipeline_and_number, version_of
from tidemill.io.modes import let_engines_read, let_engines_through
from tidemill.settings import Settings

ARTIFACT = "adapter"
GATE = "gate"
"""Folder of a run's artifacts that holds the gate's report."""
EVIDENCE = "evidence"
"""Folder of a run's artifacts that holds what was found behind the job's alarm."""
CARD = "model_card.md"
JOB_TAG = "tidemill.job_id"
DIGEST_TAG = "tidemill.adapter_digest"
CANDIDATE = "candidate"
CHAMPION = "champion"
_MANY = 10_000
_DESCRIPTION_CHARS = 5_000

_DIGEST_CHARS = 36
"""That MLflow keeps of a data set's digest."""


class Input(Struct, frozen=True, kw_only=True):
    """A file of rows that a run had as input; ``context`` is what for: training or validation."""

    name: str
    context: str
    digest: str
    file: str
    rows: int


P = ParamSpec("P")
R = TypeVar("R")


def mapped(function: Callable[P, R]) -> Callable[P, R]:
    """MLflow's and the network's errors become Retry; a refusal by MLflow (bad request) becomes Stop."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        import requests
        from mlflow.exceptions import MlflowException

        try:
            return function(*args, **kwargs)
        except (requests.RequestException, ConnectionError) as error:
            raise Retry(without_credentials(f"MLflow does not answer: {error}")) from error
        except MlflowException as error:
            refused = error.error_code in ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED")
            if refused:
                raise Stop(without_credentials(f"MLflow refuses: {error}")) from error
            raise Retry(without_credentials(f"MLflow: {error}")) from error

    return wrapped


def client(settings: Settings) -> Any:
    """A client of the deployment's MLflow; short time-outs, so that an absent server shows. Imports MLflow."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "1"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=settings.mlflow_url, registry_uri=settings.mlflow_url)


@mapped
def ensure_champion(settings: Settings, pipeline: str) -> str:
    """Register the first champion as version 1, so that versions' names and numbers agree; give back its version.

    Blocks; may be repeated. Raises Retry (MLflow away) or Stop (the registry and the settings disagree).
    """
    chosen = settings.pipelines[pipeline]
    mlflow = client(settings)
    _ensure_model(mlflow, pipeline)
    if any(int(found.version) == 1 for found in mlflow.search_model_versions(f"name = '{pipeline}'")):
        return f"{pipeline}-v1"
    if chosen.champion != f"{pipeline}-v1":
        raise Stop(
            f"pipelines.{pipeline}.champion is {chosen.champion!r}, but the registry (mlflow.url) holds no "
            f"version of {pipeline!r}; restore the registry or start with champion: {pipeline}-v1"
        )
    folder = places.champion_dir(settings, pipeline, chosen.champion)
    job = f"{settings.deployment}/{pipeline}/first-champion"
    run_id = _ensure_run(mlflow, settings, job, f"{pipeline} first champion", {"tidemill.pipeline": pipeline})
    if folder is not None:
        _ensure_artifacts(mlflow, run_id, folder)
    else:
        mlflow.log_text(run_id, "the base model itself serves\n", f"{ARTIFACT}/BASE.txt")
    tags = {JOB_TAG: job} | ({DIGEST_TAG: adapter.file_digest(folder / adapter.WEIGHTS)} if folder else {})
    made = _version(mlflow, pipeline, run_id, tags)
    if made != 1:
        raise Stop(
            f"the registry numbered {pipeline}'s first champion {made}; delete the registered model {pipeline!r}"
        )
    _alias_if_free(mlflow, pipeline, CHAMPION, 1)
    mlflow.set_terminated(run_id)
    return f"{pipeline}-v1"


@mapped
def log_run(
    settings: Settings,
    job_id: str,
    pipeline: str,
    *,
    tags: Mapping[str, str],
    params: Mapping[str, str],
    metrics: Mapping[str, float],
    losses: Sequence[tuple[int, float]],
    adapter_dir: Path,
    inputs: Sequence[Input] = (),
) -> str:
    """The job's run with its figures, loss curve (step, loss), data sets and adapter; give back its id.

    May be repeated.
    """
    from mlflow.entities import Metric, Param, RunTag

    mlflow = client(settings)
    run_id = _ensure_run(mlflow, settings, job_id, f"{pipeline} {job_id[:8]}", tags)
    start = mlflow.get_run(run_id).info.start_time
    curve = [Metric("loss", loss, start, step) for step, loss in losses[-900:]]
    mlflow.log_batch(
        run_id,
        metrics=[Metric(name, value, start, 0) for name, value in metrics.items()] + curve,
        params=[Param(name, value[:500]) for name, value in params.items()],
        tags=[RunTag(name, value[:500]) for name, value in tags.items()],
    )
    if inputs:
        mlflow.log_inputs(run_id, [_logged(each) for each in inputs])
    _ensure_artifacts(mlflow, run_id, adapter_dir)
    mlflow.set_terminated(run_id)
    return run_id


@mapped
def log_files(settings: Settings, run_id: str, folder: str, files: Sequence[Path]) -> None:
    """Put files beside the run's adapter, in that folder of its artifacts. May be repeated."""
    mlflow = client(settings)
    for file in files:
        mlflow.log_artifact(run_id, str(file), folder)


@mapped
def register(settings: Settings, pipeline: str, run_id: str, job_id: str, tags: Mapping[str, str]) -> str:
    """The candidate's version ``<pipeline>-v<N>``, aliased ``candidate``. May be repeated.

    Raises Stop where the settings declare that version as another one.
    """
    ensure_champion(settings, pipeline)
    mlflow = client(settings)
    _undeclared(settings, pipeline, _next_number(mlflow, pipeline, job_id))
    number = _version(mlflow, pipeline, run_id, dict(tags) | {JOB_TAG: job_id})
    _undeclared(settings, pipeline, number)  # another deployment may have registered one meanwhile
    mlflow.set_registered_model_alias(pipeline, CANDIDATE, str(number))
    return version_of(pipeline, number)


@mapped
def describe(settings: Settings, run_id: str, version: str, card: str, manifest: Path) -> None:
    """The model card and the data set's manifest as the run's artifacts, the card as the version's description.

    May be repeated. ``version`` is empty where there is none.
    """
    mlflow = client(settings)
    mlflow.log_text(run_id, card, CARD)
    if manifest.is_file():
        mlflow.log_artifact(run_id, str(manifest), "data")
    if version:
        mlflow.update_model_version(*pipeline_and_number(version), shortened(card))


def shortened(card: str) -> str:
    """What of a card fits into a description: MLflow's database keeps 5,000 characters."""
    rest = f"\n\n(The rest is in {CARD} of its run.)\n"
    return card if len(card) <= _DESCRIPTION_CHARS else card[: _DESCRIPTION_CHARS - len(rest)] + rest


def keep(settings: Settings, adapter_dir: Path, version: str) -> Path:
    """Copy an adapter to the version's own folder, whole or not at all; a version's folder never changes.

    Raises Stop where the folder holds another adapter.
    """
    target = places.version_dir(settings, version)
    digest = adapter.file_digest(adapter_dir / adapter.WEIGHTS)
    if target.is_dir():
        if adapter.file_digest(target / adapter.WEIGHTS) != digest:
            raise Stop(f"{target} holds another adapter; the registry and data_dir do not belong together")
        return target
    unfinished = target.with_name(target.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    for name in (adapter.WEIGHTS, adapter.CONFIG):
        shutil.copy2(adapter_dir / name, unfinished / name)
    let_engines_read(unfinished)
    let_engines_through(target.parent)
    unfinished.rename(target)
    return target


def _logged(given: Input) -> Any:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    columns = [{"type": "string", "name": name, "required": True} for name in ("prompt", "completion")]
    made = Dataset(
        name=given.name,
        digest=given.digest[:_DIGEST_CHARS],
        source_type="local",
        source=json.dumps({"uri": given.file}),
        schema=json.dumps({"mlflow_colspec": columns}),
        profile=json.dumps({"num_rows": given.rows}),
    )
    return DatasetInput(made, [InputTag("mlflow.data.context", given.context)])


def _ensure_model(mlflow: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        mlflow.create_registered_model(name, description="made by tidemill: one version per accepted adapter")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _ensure_run(mlflow: Any, settings: Settings, job_id: str, name: str, tags: Mapping[str, str]) -> str:
    experiment = mlflow.get_experiment_by_name(settings.mlflow.experiment)
    experiment_id = experiment.experiment_id if experiment else mlflow.create_experiment(settings.mlflow.experiment)
    found = mlflow.search_runs([experiment_id], f"tags.`{JOB_TAG}` = '{job_id}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    kept = {key: value[:500] for key, value in tags.items()}
    return str(mlflow.create_run(experiment_id, run_name=name, tags=kept | {JOB_TAG: job_id}).info.run_id)


def _ensure_artifacts(mlflow: Any, run_id: str, folder: Path) -> None:
    have = {Path(item.path).name for item in mlflow.list_artifacts(run_id, ARTIFACT)}
    for name in (adapter.CONFIG, adapter.WEIGHTS):
        if name not in have:
            mlflow.log_artifact(run_id, str(folder / name), ARTIFACT)


def _next_number(mlflow: Any, name: str, job_id: str) -> int:
    """The number that the job's version has, or would get."""
    found = {int(each.version): each.tags.get(JOB_TAG) for each in _versions(mlflow, name)}
    return next((number for number, job in found.items() if job == job_id), max(found, default=0) + 1)


def _undeclared(settings: Settings, pipeline: str, number: int) -> None:
    version = version_of(pipeline, number)
    if version in settings.pipelines[pipeline].versions:
        raise Stop(
            f"the registry (mlflow.url) gives this candidate the version {version}, which pipelines.{pipeline}."
            f"versions.{version} declares as another one; give that one a number that the registry does not reach "
            f"({version_of(pipeline, number + 1000)}) and retrain"
        )


def _versions(mlflow: Any, name: str) -> Any:
    return mlflow.search_model_versions(f"name = '{name}'", max_results=_MANY)


def _version(mlflow: Any, name: str, run_id: str, tags: Mapping[str, str]) -> int:
    """The number of the version made for ``tags[JOB_TAG]``; made once."""
    for found in _versions(mlflow, name):
        if found.tags.get(JOB_TAG) == tags[JOB_TAG]:
            return int(found.version)
    source = f"{mlflow.get_run(run_id).info.artifact_uri}/{ARTIFACT}"
    made = mlflow.create_model_version(name, source, run_id, tags={key: value[:500] for key, value in tags.items()})
    return int(made.version)


def _alias_if_free(mlflow: Any, name: str, alias: str, number: int) -> None:
    if alias not in mlflow.get_registered_model(name).aliases:
        mlflow.set_registered_model_alias(name, alias, str(number))
