"""A sweep's trials in the registry: runs nested in the job's run. MLflow is imported inside the function (seconds)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from retrain.adapter import RESULT
from retrain.registry import client, mapped
from tidemill.settings import Settings

PARENT_TAG = "mlflow.parentRunId"
TRIAL_TAG = "tidemill.trial"
_MANY = 100


def made_for(adapter_dir: Path) -> list[dict[str, float]]:
    """The trials that the training of an adapter tells of; none where there was no sweep."""
    file = adapter_dir / RESULT
    found = msgspec.json.decode(file.read_bytes()) if file.is_file() else {}
    return list(found.get("trials", []))


@mapped
def log_trials(settings: Settings, run_id: str, trials: Sequence[Mapping[str, float]]) -> None:
    """One run a trial: ``lr``, ``keep_weight`` and ``steps`` as parameters, ``loss`` and ``seconds`` as metrics.

    May be repeated. Raises Retry while MLflow is away.
    """
    from mlflow.entities import Metric, Param

    mlflow = client(settings)
    parent = mlflow.get_run(run_id).info
    known = {
        run.data.tags[TRIAL_TAG]: run.info.run_id
        for run in mlflow.search_runs([parent.experiment_id], f"tags.`{PARENT_TAG}` = '{run_id}'", max_results=_MANY)
    }
    for number, trial in enumerate(trials, start=1):
        name = f"trial {number}"
        tags = {PARENT_TAG: run_id, TRIAL_TAG: name}
        made = known.get(name) or mlflow.create_run(parent.experiment_id, run_name=name, tags=tags).info.run_id
        mlflow.log_batch(
            made,
            metrics=[Metric(key, trial[key], parent.start_time, 0) for key in ("loss", "seconds")],
            params=[Param(key, str(trial[key])) for key in ("lr", "keep_weight", "steps")],
        )
        mlflow.set_terminated(made)
