"""What `tidemill status` says: in 80 columns, while a stack is being prepared, and of the budget of false alarms."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from consumers.alerts.main import HOLDING
from streams.app.measures import ALLOWED, DETECTED, WATCHED
from tests.unit.dashboards.console_pictures import decision
from tidemill.cli.main import app
from tidemill.cli.status import told
from tidemill.io.service import Service
from tidemill.local import statefile
from tidemill.local.lifecycle import State
from tidemill.local.ports import free_port_base
from tidemill.settings import Settings


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """Settings in force, with the lock of their data folder held."""
    base = free_port_base()
    file = tmp_path / "tidemill.yaml"
    file.write_text(f"data_dir: {tmp_path / 'data'}\nlocal: {{port_base: {base}}}\n")
    monkeypatch.setenv("TIDEMILL_SETTINGS", str(file))
    monkeypatch.delenv("TIDEMILL_DATA_DIR", raising=False)
    monkeypatch.delenv("TIDEMILL_LOCAL__PORT_BASE", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    lock = statefile.StackLock(tmp_path / "data")
    lock.take()
    yield Settings.model_validate({"data_dir": str(tmp_path / "data"), "local": {"port_base": base}})
    lock.free()


def asked(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["status", *arguments])
    return done.exit_code, done.output


def wrote(settings: Settings, states: list[State], **fields: Any) -> None:
    peak = {"console": 123_456.7}
    base = settings.local.port_base
    statefile.write(settings.data_dir, states, port_base=base, started_ms=5, peak=peak, **fields)


def test_the_table_fits_80_columns_and_reasons_have_lines_of_their_own(deployment: Settings) -> None:
    long = "gateway, meter, streams, sink, scorer, rollout and everything else that there may be"
    states = [
        State("evidence", "preparing", pid=4_194_304, restarts=12, address="http://127.0.0.1:65535/alerts"),
        State("console", "ready", pid=4_194_304, restarts=1_234, address="http://127.0.0.1:65535/v1"),
        State("traffic", "waiting", reason=long),
        State("sink", "backoff", reason="ended with code 1"),
    ]
    wrote(deployment, states)
    code, shown = asked()
    lines = shown.splitlines()
    assert code == 1 and max(map(len, lines[:-2])) <= 80
    assert lines[-2:] == [f"traffic waits for {long}", "sink: ended with code 1"]
    assert "65535/alerts" in shown and "false alarms" not in shown


def test_what_is_done_before_the_first_process_is_said(deployment: Settings) -> None:
    code, shown = asked()
    assert code == 1 and f"process {os.getpid()} has" in shown
    wrote(deployment, [], doing="making the demo's models: base (step 3 of 450)")
    code, shown = asked()
    assert code == 1 and "nothing is started yet: making the demo's models: base (step 3 of 450)" in shown
    line = json.loads(asked("--json")[1])
    assert line["running"] is True and line["stack"]["doing"] and line["false_alarms"] == {}
    assert line["decisions"] == [], "no store answers"


def test_how_many_silences_hold_is_said_where_any_does(deployment: Settings) -> None:
    wrote(deployment, [State("alerts", "ready", pid=1)])
    assert json.loads(asked("--json")[1])["silences"] is None
    with Service(deployment, "alerts", port=deployment.port("alerts")):
        HOLDING.set(2)
        assert "silences and maintenance that hold now: 2" in asked()[1]
        assert json.loads(asked("--json")[1])["silences"] == 2
        HOLDING.set(0)
        assert "silences" not in asked()[1]


def test_the_spend_of_the_budget_is_shown_by_pipeline_where_the_role_is_up(deployment: Settings) -> None:
    wrote(deployment, [State("streams", "ready", pid=1)])
    for gauge, value in ((ALLOWED, 0.125), (DETECTED, 2), (WATCHED, 11)):
        gauge.labels("[shop]").set(value)
    with Service(deployment, "streams", port=deployment.port("streams")):
        code, shown = asked()
        line = json.loads(asked("--json")[1])
    for gauge in (ALLOWED, DETECTED, WATCHED):
        gauge.remove("[shop]")
    assert code == 0
    assert "at most 1 per 604_800 clock updates" in shown
    assert shown.splitlines()[-1].split() == ["[shop]", "11", "0.143", "0.125", "2"]
    assert line["false_alarms"]["[shop]"] == {
        **{"allowed": 0.125, "alarms": 2, "series": 11, "allowed_a_day": pytest.approx(1 / 7)},
    }
    assert REGISTRY.get_sample_value("tidemill_streams_watched_series", {"pipeline": "[shop]"}) is None


def test_a_decision_on_a_retraining_is_a_line() -> None:
    said = decision()
    assert told(said) == "schedule: not now (quality, 2025-11-22T08:21:56Z): cooling down for another 600 s"
    assert told(structs.replace(said, again_ms=None)).startswith("schedule: decline (quality")
    assert told(structs.replace(said, act="open")).startswith("schedule: open (quality")
