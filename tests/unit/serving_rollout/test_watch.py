"""A new champion's first time: back where it is proven worse than the one before, else it is kept and that is said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from serving.rollout.decide import WATCH, decide
from serving.rollout.judge import judge
from serving.rollout.moves import keeps_way_back
from serving.rollout.observed import StepFigures
from serving.rollout.watched import fold_watch, lower, watch_share
from tests.unit.serving_rollout.test_decide import NOW, PLAN, in_phase, seen
from tidemill.events import StationTime, Verdict

PLACE = (StationTime(station="champion", started_ms=NOW),)
CANARY_WAS = Verdict(check="canary-50", outcome="pass", figures={"candidate_mean": 0.9})
PROMOTING = in_phase("promoting", weight=100, stations=PLACE, verdicts=(CANARY_WAS,))
WATCHED = in_phase(
    "champion", weight=100, stations=PLACE, verdicts=(CANARY_WAS,), watch="open", watch_until_ms=NOW + 1_800_000
)
SHARE = watch_share(PLAN)


def rows(version: str, level: float, n: int, failed: float = 0.0) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """``n`` scored answers of a champion, evenly spread, one a session."""
    spread = [(i * 7919 % 1000) / 1000 for i in range(n)]
    named = [{"version": version, "arm": "champion", "call": f"{version}-{i}", "session": ""} for i in range(n)]
    scores = [one | {"metric": "exact_match", "judged": float(s < level)} for one, s in zip(named, spread, strict=True)]
    ended = ["error" if s < failed else "ok" for s in spread]
    return scores, [one | {"ended": end} for one, end in zip(named, ended, strict=True)]


def seen_in_watch(before: float, after: float, n: int = 200, failed: float = 0.0) -> StepFigures:
    old, new = rows("schedule-v1", before, n), rows("schedule-v2", after, n, failed)
    return fold_watch(old, new, WATCHED, "exact_match", SHARE)


def test_the_watch_opens_with_the_promotion_and_keeps_the_way_back() -> None:
    found = decide(PROMOTING, PLAN, seen(5, registry_done=True, drained=True))
    assert found is not None and (found.state.phase, found.state.watch) == ("champion", "open")
    assert found.state.watch_until_ms == NOW + 1_800_000
    assert keeps_way_back(found.state)
    without = decide(PROMOTING, PLAN.model_copy(update={"watch_s": 0}), seen(5, registry_done=True, drained=True))
    assert without is not None and not without.state.watch and not keeps_way_back(without.state)


@pytest.mark.parametrize("state", [PROMOTING, WATCHED], ids=["taking over", "champion"])
def test_a_champion_that_is_worse_than_the_one_before_goes_back(state: Any) -> None:
    found = decide(state, PLAN, seen(60, figures=seen_in_watch(0.8, 0.3)))
    assert found is not None and found.reroute
    assert (found.state.phase, found.state.weight, found.state.watch) == ("rolled_back", 0, "back")
    assert found.state.reason.startswith("harm proven since it took over: worse than schedule-v1")
    assert (found.state.verdicts[-1].check, found.state.verdicts[-1].outcome) == (WATCH, "fail")
    assert found.state.seq == state.seq + 1


def test_a_champion_that_fails_more_often_goes_back() -> None:
    found = decide(WATCHED, PLAN, seen(60, figures=seen_in_watch(0.8, 0.8, failed=0.5)))
    assert found is not None and found.state.phase == "rolled_back" and "failed" in found.state.reason


@pytest.mark.parametrize(("after", "word"), [(0.9, "beside 0.90"), (0.7, "decayed from 0.90")])
def test_a_champion_that_does_no_harm_is_kept_at_the_end_and_decay_is_noted(after: float, word: str) -> None:
    figures = seen_in_watch(0.3, after)
    assert decide(WATCHED, PLAN, seen(1799, figures=figures)) is None
    found = decide(WATCHED, PLAN, seen(1800, figures=figures))
    assert found is not None and (found.state.phase, found.state.watch, found.reroute) == ("champion", "kept", False)
    assert found.state.verdicts[-1].outcome == "pass" and word in found.state.verdicts[-1].reason
    assert decide(found.state, PLAN, seen(9999, figures=figures)) is None


def test_a_watch_that_cannot_see_stays_open_and_one_without_scores_says_so() -> None:
    assert decide(WATCHED, PLAN, seen(99_999)) is None
    found = decide(WATCHED, PLAN, seen(1800, figures=seen_in_watch(0.8, 0.3, n=0)))
    assert found is not None and found.state.verdicts[-1].outcome == "inconclusive"
    assert "not scored" in found.state.verdicts[-1].reason


def test_another_rollout_ends_the_watch_and_leaves_the_route_alone() -> None:
    found = decide(WATCHED, PLAN, seen(60, superseded=True, figures=seen_in_watch(0.8, 0.1)))
    assert found is not None and (found.state.phase, found.state.watch, found.reroute) == ("champion", "kept", False)


def test_equal_champions_are_seldom_called_worse() -> None:
    """Of 400 watches with 300 scores each at 0.7, looked at after every score: at most alpha, here far fewer."""
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(400):
        before, after = (rng.random(300) < 0.7).astype(float), (rng.random(300) < 0.7).astype(float)
        figures = StepFigures(quality=lower(before, after, SHARE.quality))
        wrong += bool(judge(figures, PLAN, SHARE, "v1").harm)
    assert wrong <= 400 * PLAN.alpha


def test_harm_after_a_promotion_is_found() -> None:
    rng, found = np.random.default_rng(7), 0
    for _ in range(100):
        before, after = (rng.random(300) < 0.8).astype(float), (rng.random(300) < 0.55).astype(float)
        figures = StepFigures(quality=lower(before, after, SHARE.quality))
        found += bool(judge(figures, PLAN, SHARE, "v1").harm)
    assert found >= 95
