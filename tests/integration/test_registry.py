"""The embedded registry is a real MLflow server that keeps aliases and artifacts."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

from tidemill.settings import Settings


def call(url: str, body: dict[str, str]) -> dict[str, object]:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        found: dict[str, object] = json.load(answer)
        return found


def test_experiments_are_kept_under_data_dir(mlflow: str, settings: Settings) -> None:
    made = call(f"{mlflow}/api/2.0/mlflow/experiments/create", {"name": "try"})
    with urllib.request.urlopen(
        f"{mlflow}/api/2.0/mlflow/experiments/get?experiment_id={made['experiment_id']}", timeout=30
    ) as answer:
        experiment = json.load(answer)["experiment"]
    assert experiment["artifact_location"].startswith("mlflow-artifacts:")
    assert (Path(settings.data_dir) / "mlflow" / "mlflow.db").stat().st_size > 0
