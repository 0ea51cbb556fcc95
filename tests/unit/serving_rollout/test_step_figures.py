"""Rows of the store as what is judged."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from serving.rollout.figures import WARM_UP, fold
from tests.unit.serving_rollout.test_decide import CANARY, LAST, NOW, SHADOW
from tidemill.events import Verdict

VERSIONS = {"champion": "schedule-v1", "canary": "schedule-v2", "shadow": "schedule-v2"}


def score(
    number: int, arm: str, judged: float, session: str | None = None, metric: str = "exact_match"
) -> dict[str, Any]:
    call = f"call-{number}"
    return {
        "call": call,
        "version": VERSIONS[arm],
        "arm": arm,
        "metric": metric,
        "judged": judged,
        "at": NOW + number,
        "called": NOW + number,
        "answer": f"{call}-{arm}",
        "session": call if session is None else session,
    }


def answer(number: int, arm: str, ended: str = "ok", session: str | None = None, **amounts: float) -> dict[str, Any]:
    timed: dict[str, Any] = {"ttft_ms": None, "e2e_ms": None, "cost_micros": None, **amounts}
    return score(number, arm, 0.0, session) | {"ended": ended} | timed


def test_shadow_pairs_the_same_calls_and_ignores_other_arms() -> None:
    rows = [score(n, arm, level) for n in range(9) for arm, level in (("champion", 1.0), ("shadow", 0.25))]
    found = fold([*rows, score(99, "canary", 0.0)], [], SHADOW, "exact_match")
    assert found.quality.values.tolist() == [0.75] * 9
    assert (found.champion.scored, found.candidate.scored, found.candidate.mean) == (9, 9, 0.25)


def test_failures_of_a_shadow_are_paired_and_counted() -> None:
    rows = [
        answer(n, arm, "error" if arm == "shadow" and n < 3 else "ok")
        for n in range(8)
        for arm in ("champion", "shadow")
    ]
    found = fold([], rows, SHADOW, "exact_match")
    assert (found.candidate.answers, found.candidate.failed, found.champion.failed) == (8, 3, 0)
    assert found.failures.values.tolist() == [1.0] * 3 + [0.0] * 5
    assert not found.amounts


def test_a_canary_counts_each_session_once() -> None:
    calls = [score(n, "champion", 1.0) for n in range(20)]
    chat = [score(20 + n, "canary", float(n % 2), "chat") for n in range(4)]
    later = [score(40 + n, "champion", 1.0) for n in range(10)]
    again = [score(60, "canary", 0.0, "chat")]
    found = fold([*calls, *chat, *later, *again], [], CANARY, "exact_match")
    assert found.quality.n == 31
    assert found.candidate.scored == 5
    assert sum(found.quality.values > 0.9 / 0.25 * 0.4) == 1, "the chat's mean of a half, once"


def test_a_session_that_was_the_candidates_already_tells_nothing_new_and_others_have_their_chance() -> None:
    ended = Verdict(check="canary-25", outcome="pass", time_ms=NOW - 1)
    state = msgspec.structs.replace(LAST, verdicts=(ended,))
    earlier = [
        {"session": "old", "called": NOW - 9, "canary": 1},
        {"session": "stayed", "called": NOW - 9, "canary": 0},
        {"session": "moved", "called": NOW - 9, "canary": 0},
    ]
    rows = [
        score(0, "canary", 0.0, "old"),
        score(1, "champion", 1.0, "stayed"),
        score(2, "canary", 1.0, "moved"),
        score(3, "canary", 1.0, "new"),
    ]
    found = fold(rows, [], state, "exact_match", earlier)
    share = np.array([1 / 3, 1 / 3, 0.5])  # from 25 to 50 %: a third of the rest moves
    arm = np.array([0.0, 1.0, 1.0])
    level = np.array([0.5, (1 + 2.5) / 6, (2 + 2.5) / 7])
    assert found.quality.values == pytest.approx((arm - share) * (level - 1.0) / (share * (1 - share)))


def test_times_count_from_the_call_on_that_began_after_the_warm_up() -> None:
    rows = [answer(n, "canary", e2e_ms=9000.0) for n in range(WARM_UP)]
    rows += [answer(100 + n, "canary", e2e_ms=1000.0) for n in range(7)]
    rows += [answer(200 + n, "champion", e2e_ms=800.0, cost_micros=5.0) for n in range(8)]
    found = fold([], rows, CANARY, "exact_match").amounts
    assert found["e2e_ms"].candidate.values.tolist() == [1000.0] * 7
    assert len(found["e2e_ms"].champion.values) == 8 and len(found["ttft_ms"].champion.values) == 0
    assert found["cost"].champion.values.tolist() == [5.0] * 8


def test_thumbs_are_a_metric_of_their_own_unless_they_are_the_quality() -> None:
    rows = [score(n, "canary", 0.0, metric="thumb") for n in range(5)]
    assert fold(rows, [], CANARY, "exact_match").thumbs.n == 5
    assert fold(rows, [], CANARY, "thumb").thumbs.n == 0
    assert fold(rows, [], CANARY, "thumb").quality.n == 5
