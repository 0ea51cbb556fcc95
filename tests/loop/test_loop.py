"""The whole wheel, once, on real parts, with two roles killed on the way: the command that people run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tidemill.local.ports import free_port_base

ROOT = Path(__file__).parents[2]
LIMIT_S = 2_400


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the demo makes its own data folder."""
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    """What ``tidemill demo --json`` says of one turn during which the gateway and the sink are killed."""
    environment = os.environ | {
        "TIDEMILL_DATA_DIR": str(folder),
        "TIDEMILL_LOCAL__PORT_BASE": str(free_port_base()),
    }
    command = [sys.executable, "-m", "tidemill.cli.main", "demo", "--json", "--turns", "1", "--kill", "gateway,sink"]
    ended = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    story = ended.stderr[-6_000:]
    assert ended.returncode == 0, f"the loop did not close:\n{story}\n{ended.stdout[-3_000:]}"
    loaded: dict[str, Any] = json.loads(ended.stdout.strip().splitlines()[-1])
    print(story)
    return loaded


@pytest.mark.timeout(LIMIT_S + 60)
def test_the_loop_closes(result: dict[str, Any]) -> None:
    figures = result["figures"]
    assert figures["loop_closed"] == 1
    assert [turn["ending"] for turn in figures["turns"]] == ["champion"]


def test_every_answered_call_has_exactly_its_rows(result: dict[str, Any]) -> None:
    figures = result["figures"]
    assert figures["lost_rows"] == 0
    assert figures["duplicate_rows"] == 0
    assert figures["calls"]["answered"] > 500
    assert figures["rows"]["scores"] > 0


def test_both_roles_were_killed_and_calls_failed_only_while_the_gateway_was_down(result: dict[str, Any]) -> None:
    figures = result["figures"]
    assert {kill["role"] for kill in figures["kills"]} == {"gateway", "sink"}
    assert figures["failed_calls"] == 0, figures["calls"]
    (down_s,) = figures["calls"]["gateway_down_s"]
    assert 0 < down_s < 60


def test_quality_fell_and_came_back(result: dict[str, Any]) -> None:
    figures = result["figures"]
    assert figures["quality_before"] >= 0.8
    assert figures["quality_changed"] <= 0.4
    assert figures["quality_after"] >= 0.75


def test_the_healthy_pipeline_was_not_retrained(result: dict[str, Any]) -> None:
    assert result["figures"]["healthy_retrains"] == 0


def test_nothing_was_served_but_what_is_registered(result: dict[str, Any], folder: Path) -> None:
    said = (folder / "demo" / "logs" / "host.log").read_text()
    assert "serves something else" not in said, "a rollout is no trouble"
    assert "no figures of engine" not in said, "the engine's page has the names that are looked for"


def test_the_receiver_heard_of_it(result: dict[str, Any]) -> None:
    assert result["figures"]["webhooks"] > 0


def test_every_alarm_explains_itself_on_the_console(result: dict[str, Any]) -> None:
    figures = result["figures"]
    assert figures["alarms"] > 0
    assert figures["alarms_explained"] == 1, figures["alarms_unexplained"]


def test_the_goals_are_judged_from_the_figures(result: dict[str, Any]) -> None:
    names = {goal["name"] for goal in result["goals"]}
    assert {"loop_closed", "change_to_champion_s", "alarms_explained", "lost_rows", "failed_calls"} <= names
