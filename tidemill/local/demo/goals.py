"""Whether the loop closed, and the goals of the demo, recomputed from its figures; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tidemill.local.demo.scenario import Scenario, Turn

SETUP_S = {"kept": 120, "trained": 480}
"""Goal for the set-up: with the models kept from before, and where they had to be trained first."""


def headline(figures: Mapping[str, Any], wanted: Sequence[Turn]) -> dict[str, Any]:
    """The figures that the goals are about: those of the first turn, and whether every wanted turn ended as told."""
    told = figures["turns"]
    complete = len(told) == len(wanted) and all(turn["as_told"] for turn in told)
    turning = Counter(turn.pipeline for turn in wanted)
    needless = sum(max(0, count - turning[pipeline]) for pipeline, count in figures["jobs"].items())
    first = told[0] if told else {}
    held_back, known = first.get("held_back"), first.get("known")
    found = {
        "loop_closed": int(complete),
        "change_to_alarm_s": first.get("change_to_alarm_s"),
        "change_to_champion_s": first.get("change_to_end_s"),
        "quality_before": first.get("quality_before"),
        "quality_changed": held_back["changed"]["quality"] if held_back else first.get("quality_changed"),
        "quality_after": held_back["after"]["quality"] if held_back else first.get("quality_after"),
        "healthy_retrains": needless,
        "lost_rows": figures["rows"]["lost"],
        "duplicate_rows": figures["rows"]["duplicates"],
        "failed_calls": figures["calls"]["failed"] - figures["calls"]["failed_while_gateway_down"],
    }
    if known:
        found["known_loss"] = _loss(known["before"]["quality"], known["after"]["quality"])
    return found


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
    yield "alarms_explained", "share", 1, "higher"
    yield "healthy_retrains", "jobs", 0, "lower"
    yield "lost_rows", "rows", 0, "lower"
    yield "duplicate_rows", "rows", 0, "lower"
    yield "failed_calls", "calls", 0, "lower"


def _loss(before: float | None, after: float | None) -> float | None:
    return None if before is None or after is None else before - after
