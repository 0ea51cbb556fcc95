"""What the settings name and is not there is said before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tidemill.errors import Stop
from tidemill.local.needed import missing, refuse_missing
from tidemill.settings import Settings


def deployment(folder: Path, engine: dict[str, Any] | None = None, **pipeline: Any) -> Settings:
    named = {"base_dir": ".tidemill/models/mine"} | (engine or {})
    made = {"engine": "local", "champion": "support-v1", "gate": {"golden_set": "golden.jsonl"}} | pipeline
    return Settings.model_validate(
        {"data_dir": str(folder / "data"), "engines": {"local": named}, "pipelines": {"support": made}}
    )


def test_each_is_named_with_its_value_and_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(Stop) as refused:
        refuse_missing(deployment(tmp_path))
    model, golden = str(refused.value).splitlines()
    assert model.startswith(
        f"engines.local.base_dir '.tidemill/models/mine': there is no folder {tmp_path}/data/models/mine"
    )
    assert model.endswith("or name the folder where it is")
    assert golden.startswith(
        f"pipelines.support.gate.golden_set 'golden.jsonl': there is no file {tmp_path}/golden.jsonl"
    )
    assert golden.endswith("or leave the setting empty to judge without them")


def test_nothing_is_said_where_they_are_there(tmp_path: Path) -> None:
    (tmp_path / "data" / "models" / "mine").mkdir(parents=True)
    (tmp_path / "golden.jsonl").touch()
    refuse_missing(deployment(tmp_path))


def test_only_what_runs_here_needs_them(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    assert missing(settings, ["receiver"]) == []
    assert len(missing(settings, ["engine"])) == 1
    assert len(missing(settings, ["retrain"])) == 2


def test_dvc_is_needed_where_a_remote_is_set_and_trainings_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIDEMILL_DVC_PYTHON", str(tmp_path / "none"))
    settings = deployment(tmp_path)
    told = settings.model_copy(update={"dvc": settings.dvc.model_copy(update={"remote": "sets"})})
    assert [len(missing(each, ["retrain"])) for each in (settings, told)] == [2, 3]
    assert "run `python3 deploy/setup.py --dvc`" in str(missing(told, None))
    assert missing(told, ["receiver"]) == []


def test_where_nothing_is_trained_the_golden_set_is_not_needed_nor_the_base_of_an_engine_elsewhere(
    tmp_path: Path,
) -> None:
    untrained = {"retrain": {"enabled": False}}
    assert len(missing(deployment(tmp_path, **untrained))) == 1
    assert missing(deployment(tmp_path, {"url": "http://127.0.0.1:1/v1"}, **untrained)) == []
    assert len(missing(deployment(tmp_path, {"url": "http://127.0.0.1:1/v1"}))) == 2
