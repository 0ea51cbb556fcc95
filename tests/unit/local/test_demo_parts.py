"""The demo's own parts: goals judge honestly, scenarios override settings, kills come at their moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from producers.traffic.traffic import Tally
from tidemill.errors import SettingsError
from tidemill.events import JobState
from tidemill.ids import uuid7
from tidemill.local.demo.goals import judge, judge_exit
from tidemill.local.demo.kills import Kill, Killer
from tidemill.local.demo.measure import call_figures
from tidemill.local.demo.overrides import with_overrides, write_settings
from tidemill.local.demo.scenario import BAD_LABELS, LOOP, SCENARIOS
from tidemill.settings import load_settings

DEMO = Path(__file__).parents[3] / "tidemill.yaml"


def test_a_missing_figure_does_not_hold() -> None:
    judged = {goal["name"]: goal["holds"] for goal in judge({"loop_closed": 1, "quality_after": 0.7}, LOOP)}
    assert judged["loop_closed"]
    assert not judged["quality_after"]
    assert not judged["lost_rows"]
    assert "quality_after" not in {goal["name"] for goal in judge({}, BAD_LABELS)}


@pytest.mark.parametrize(("models", "goal_s"), [("kept", 120), ("trained", 480)])
def test_set_up_may_take_longer_where_models_are_trained(models: str, goal_s: float) -> None:
    (goal,) = (each for each in judge({"models": models, "setup_s": 121}, LOOP) if each["name"] == "setup_s")
    assert (goal["goal"], goal["holds"]) == (goal_s, goal_s > 121)


def test_failures_count_as_the_gateways_only_while_it_was_down() -> None:
    tally = Tally(answered_ids=[uuid7(at_ms) for at_ms in (900, 1_010, 9_000, 9_500)])
    tally.failures = [(990, "http 500"), (1_100, "refused"), (8_000, "refused"), (9_200, "http 500")]
    figures = call_figures(tally, [Kill("gateway", "collecting", 1_000), Kill("sink", "training", 9_100)])
    assert figures["failed_while_gateway_down"] == 2
    assert figures["gateway_down_s"] == [8.0]


@pytest.mark.parametrize(
    ("figures", "code"),
    [((1, 0, 0), 0), ((0, 0, 0), 1), ((1, 1, 0), 1), ((1, 0, 1), 1)],
)
def test_the_exit_code_says_whether_the_loop_closed_whole(figures: tuple[int, int, int], code: int) -> None:
    names = ("loop_closed", "lost_rows", "duplicate_rows")
    assert judge_exit({"figures": dict(zip(names, figures, strict=True))}) == code


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_has_allowed_settings_and_survives_its_file(name: str, tmp_path: Path) -> None:
    settings = with_overrides(load_settings(DEMO, {}), SCENARIOS[name].settings)
    assert write_settings(settings, tmp_path / "tidemill.yaml") == settings
    for turn in SCENARIOS[name].turns:
        assert {turn.pipeline, *turn.changes, *turn.after_freeze} <= set(settings.pipelines)


def test_an_override_that_is_not_allowed_is_refused(tmp_path: Path) -> None:
    settings = with_overrides(load_settings(DEMO, {}), {"windows.size_s": 7})
    assert settings.windows.size_s == 7
    with pytest.raises((SettingsError, ValueError), match="size_s"):
        with_overrides(settings, {"windows.size_s": 0})


def job(phase: Any) -> JobState:
    return JobState(
        job_id="j",
        seq=1,
        time_ms=1,
        pipeline="p",
        phase=phase,
        reason="",
        alarm_id="a",
        created_ms=1,
    )


def test_each_role_is_killed_once_at_its_moment() -> None:
    killed: list[str] = []
    killer = Killer(("gateway", "retrain"), killed.append, lambda: 7)
    assert killer.look(job("snapshot"), None) == []
    assert [kill.role for kill in killer.look(job("collecting"), None)] == ["gateway"]
    assert killer.look(job("collecting"), None) == []
    killer.look(job("gating"), None)
    assert killed == ["gateway", "retrain"]


def test_a_role_without_a_moment_is_refused() -> None:
    with pytest.raises(ValueError, match="no moment is known for killing 'kafka'"):
        Killer(("kafka",), print, lambda: 0)
