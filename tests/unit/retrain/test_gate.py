"""Each verdict where it says yes, no, and cannot say."""

from __future__ import annotations

import pytest

from retrain import gate
from tests.unit.retrain.made import NOW, pipeline
from tidemill.events import Score

SETTINGS = pipeline().gate


def scores(candidate: float | None, champion: float | None, golden: tuple[float, float] = (1.0, 1.0), n: int = 40):  # type: ignore[no-untyped-def]
    return {
        "candidate/verified": Score(n=n, mean=candidate),
        "champion/verified": Score(n=n, mean=champion),
        "candidate/golden": Score(n=300, mean=golden[0]),
        "champion/golden": Score(n=300, mean=golden[1]),
    }


@pytest.mark.parametrize(
    ("given", "outcomes"),
    [
        (scores(0.95, 0.1), ["pass", "pass", "pass"]),
        (scores(0.6, 0.55), ["pass", "pass", "pass"]),
        (scores(0.59, 0.1), ["fail", "pass", "pass"]),
        (scores(0.7, 0.69), ["pass", "fail", "pass"]),
        (scores(0.95, 0.1, (0.89, 1.0)), ["pass", "pass", "fail"]),
        (scores(0.95, 0.1, (0.9, 1.0)), ["pass", "pass", "pass"]),
        (scores(0.95, 0.1, n=19), ["inconclusive", "inconclusive", "pass"]),
        (scores(None, None, n=0), ["inconclusive", "inconclusive", "pass"]),
        ({}, ["inconclusive", "inconclusive", "inconclusive"]),
    ],
)
def test_scores(given: dict[str, Score], outcomes: list[str]) -> None:
    verdicts = gate.scored(given, SETTINGS, NOW)
    assert [verdict.outcome for verdict in verdicts] == outcomes
    assert gate.passes(verdicts) == (set(outcomes) == {"pass"})
    assert bool(gate.refusal(verdicts)) != gate.passes(verdicts)


def test_without_a_golden_set_there_is_no_golden_verdict() -> None:
    settings = pipeline(gate={"golden_set": ""}).gate
    assert [v.check for v in gate.scored(scores(0.9, 0.1), settings, NOW)] == ["verified_quality", "verified_gain"]


def test_parity() -> None:
    assert gate.parity(20, 18, SETTINGS, NOW).outcome == "pass"
    assert gate.parity(20, 17, SETTINGS, NOW).outcome == "fail"
    assert gate.parity(0, 0, SETTINGS, NOW).outcome == "inconclusive"
    refused = gate.parity(0, 0, SETTINGS, NOW, "the engine answered 400: no such rank")
    assert (refused.outcome, refused.reason) == ("fail", "the engine answered 400: no such rank")


def test_integrity() -> None:
    assert gate.integrity([], NOW).outcome == "pass"
    assert gate.integrity(["sha256 differs"], NOW).outcome == "fail"


def test_no_verdicts_do_not_pass() -> None:
    assert not gate.passes([])
    assert gate.refusal([]) == "nothing was checked"
