"""Dashboards as code: what is exported is what the code builds, and every metric named exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from dashboards.grafana.build import CLICKHOUSE, PROMETHEUS, all_dashboards
from dashboards.grafana.panels import BOARDS
from dashboards.grafana.push import export, push
from tests.unit.kernel.test_metric_names import unknown
from tidemill.cli.dashboards import app
from tidemill.errors import Retry, Stop
from tidemill.metrics import HOST_METRICS, WINDOW_METRICS

ROOT = Path(__file__).parents[3]
EXPORTED = ROOT / "dashboards" / "grafana" / "exported"
PROVISIONED = ROOT / "deploy" / "compose" / "grafana" / "provisioning" / "datasources"


def test_exported_files_are_what_the_code_builds() -> None:
    for uid, dashboard in all_dashboards().items():
        written = json.loads((EXPORTED / f"{uid}.json").read_text())
        assert written == dashboard, "run: tidemill dashboards export"
    assert {file.stem for file in EXPORTED.glob("*.json")} == set(all_dashboards())


def test_export_writes_one_file_a_dashboard(tmp_path: Path) -> None:
    assert {file.stem for file in export(tmp_path / "new")} == {board.uid for board in BOARDS}


def test_every_metric_named_is_a_window_metric() -> None:
    for board in BOARDS:
        for panel in board.panels:
            for names in re.findall(r"metric IN \(([^)]*)\)", panel.sql):
                for name in re.findall(r"'([^']*)'", names):
                    assert name in WINDOW_METRICS, (board.uid, panel.title)


def test_every_figure_of_a_host_that_is_named_exists() -> None:
    (board,) = (board for board in BOARDS if board.uid == "tidemill-hosts")
    named = {name for panel in board.panels for name in re.findall(r"'(\w+)'", panel.sql)}
    assert "gpu_share" in named and named <= set(HOST_METRICS)


def test_a_panel_asks_the_store_or_prometheus_for_what_there_is() -> None:
    asked = {panel.title for board in BOARDS for panel in board.panels if panel.expressions}
    assert {"Silence", "What the audit found"} <= asked
    for board in BOARDS:
        for panel in board.panels:
            assert bool(panel.sql) != bool(panel.expressions), (board.uid, panel.title)
            for promql, legend in panel.expressions:
                shown = "".join(f" by ({label})" for label in re.findall(r"{{(\w+)}}", legend))
                assert unknown(promql + shown) == set(), (board.uid, panel.title)


def test_compose_provisions_the_data_sources_that_the_panels_ask() -> None:
    files = (yaml.safe_load(file.read_text()) for file in PROVISIONED.glob("*.yml"))
    assert {(each["type"], each["uid"]) for file in files for each in file["datasources"]} == {CLICKHOUSE, PROMETHEUS}
    used = {
        (target["datasource"]["type"], target["datasource"]["uid"])
        for dashboard in all_dashboards().values()
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    assert used == {CLICKHOUSE, PROMETHEUS}


def test_panels_have_descriptions_and_fit_the_grid() -> None:
    for dashboard in all_dashboards().values():
        assert all(panel["description"] for panel in dashboard["panels"])
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in dashboard["panels"])


def test_push_refuses_an_address_that_is_none() -> None:
    with pytest.raises(Stop, match="--url 'grafana'"):
        push("grafana", "token")


def test_push_says_when_grafana_does_not_answer() -> None:
    with pytest.raises(Retry, match="does not answer"):
        push("http://127.0.0.1:9", "token")


def test_push_without_a_token_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRAFANA_TOKEN", raising=False)
    result = CliRunner().invoke(app, ["push"])
    assert isinstance(result.exception, Stop)
    assert "GRAFANA_TOKEN" in str(result.exception)
