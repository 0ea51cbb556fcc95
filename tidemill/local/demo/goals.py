"""The goals of the demo, recomputed from its figures; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tidemill.local.demo.scenario import Scenario

SETUP_S = {"kept": 120, "trained": 480}
"""Goal for the set-up: with the models kept from before, and where they had to be trained first."""


def judge(figures: Mapping[str, Any], scenario: Scenario) -> list[dict[str, Any]]:
    """Each of the scenario's goals with its value and whether it holds; a missing figure (None) does not hold."""
    judged = []
    for name, unit, goal, better in _goals(figures, scenario):
        value = figures.get(name)
        holds = value is not None and (value >= goal if better == "higher" else value <= goal)
        judged.append({"name": name, "value": value, "unit": unit, "goal": goal, "better": better, "holds": holds})
    return judged


def judge_exit(result: Mapping[str, Any]) -> int:
    """Exit code: 0 only if every turn ended as told and no row was lost or doubled."""
    figures = result["figures"]
    whole = figures["loop_closed"] == 1 and figures["lost_rows"] == 0 and figures["duplicate_rows"] == 0
    return 0 if whole else 1


def _goals(figures: Mapping[str, Any], scenario: Scenario) -> Iterator[tuple[str, str, float, str]]:
    """Name, unit, goal, which side is better. A story that ends without a new champion has no quality to reach."""
    first = scenario.turns[0]
    yield "loop_closed", "", 1, "higher"
    yield "change_to_alarm_s", "s", 30, "lower"
    yield "setup_s", "s", SETUP_S[figures.get("models", "kept")], "lower"
    yield "quality_before", "score", 0.8, "higher"
    if first.ending == "champion":
        yield "change_to_champion_s", "s", first.champion_within_s, "lower"
        yield "quality_changed", "score", 0.4, "lower"
        yield "quality_after", "score", 0.75, "higher"
    if "known_loss" in figures:
        yield "known_loss", "score", 0.04, "lower"
    yield "healthy_retrains", "jobs", 0, "lower"
    yield "lost_rows", "rows", 0, "lower"
    yield "duplicate_rows", "rows", 0, "lower"
    yield "failed_calls", "calls", 0, "lower"
