"""Each verdict where it says yes, no, and cannot say."""

from __future__ import annotations

import pytest

from retrain.gate import gate
from tests.unit.retrain.made import NOW, pipeline

SETTINGS = pipeline().gate
SUITE = {"name": "old-billing", "file": "billing.jsonl"}


def rows(candidate: float, champion: float, n: int) -> list[tuple[float, float]]:
    """Rows scored 0 or 1 with these means, one model's wins within the other's."""
    ours, theirs = round(candidate * n), round(champion * n)
    return [(float(row < ours), float(row < theirs)) for row in range(n)]


def paired(
    candidate: float, champion: float, golden: tuple[float, float] = (1.0, 1.0), n: int = 40
) -> dict[str, list[tuple[float, float]]]:
    return {"verified": rows(candidate, champion, n), "golden": rows(*golden, 300)}


@pytest.mark.parametrize(
    ("given", "outcomes"),
    [
        (paired(0.9, 0.35, n=60), ["pass", "pass", "pass"]),
        (paired(0.65, 0.04, n=23), ["pass", "pass", "pass"]),
        (paired(0.6, 0.4), ["pass", "pass", "pass"]),
        (paired(0.6, 0.55), ["pass", "inconclusive", "pass"]),
        (paired(0.575, 0.1), ["fail", "pass", "pass"]),
        (paired(0.7, 0.675), ["pass", "fail", "pass"]),
        (paired(0.95, 0.1, (0.89, 1.0)), ["pass", "pass", "fail"]),
        (paired(0.95, 0.1, (0.92, 1.0)), ["pass", "pass", "inconclusive"]),
        (paired(0.95, 0.1, (0.94, 1.0)), ["pass", "pass", "pass"]),
        (paired(0.95, 0.1, n=19), ["inconclusive", "inconclusive", "pass"]),
        (paired(0, 0, n=0), ["inconclusive", "inconclusive", "pass"]),
        ({}, ["inconclusive", "inconclusive", "inconclusive"]),
    ],
)
def test_scores(given: dict[str, list[tuple[float, float]]], outcomes: list[str]) -> None:
    verdicts = gate.scored(given, SETTINGS, NOW)
    assert [verdict.outcome for verdict in verdicts] == outcomes
    assert gate.passes(verdicts) == (set(outcomes) == {"pass"})
    assert bool(gate.refusal(verdicts)) != gate.passes(verdicts)
    worst = next((each for each in ("fail", "inconclusive") if each in outcomes), "pass")
    assert gate.outcome(verdicts) == worst


def test_what_cannot_be_said_says_how_many_rows_would_do() -> None:
    _, gain, golden = gate.scored(paired(0.6, 0.55, (0.92, 1.0)), SETTINGS, NOW)
    assert gain.reason.startswith("+0.05 over the champion's 0.55, needed +0.05: chance alone may do that on 40 rows")
    assert gain.reason.endswith("; about 94 rows like these would")
    assert "not shown on so few; about " in golden.reason


def test_no_gain_is_needed_where_none_is_asked_for() -> None:
    settings = pipeline(gate={"min_gain": 0}).gate
    assert gate.scored(paired(0.7, 0.7), settings, NOW)[1].outcome == "pass"
    assert gate.scored(paired(0.7, 0.75), settings, NOW)[1].outcome == "fail"


def test_without_a_golden_set_there_is_no_golden_verdict() -> None:
    settings = pipeline(gate={"golden_set": ""}).gate
    assert [v.check for v in gate.scored(paired(0.9, 0.1), settings, NOW)] == ["verified_quality", "verified_gain"]


@pytest.mark.parametrize(
    ("given", "limits", "outcome", "words"),
    [
        (rows(0.9, 0.9, 60), {}, "pass", "0.90 against the champion's 0.90 on 60, at most 0.1 lost"),
        (rows(0.9, 0.9, 25), {}, "inconclusive", "about 31 rows"),
        (rows(0.9, 0.9, 19), {}, "inconclusive", "19 comparable rows; at least min_rows = 20"),
        (rows(0.7, 0.9, 60), {}, "fail", "at most 0.1 lost"),
        (rows(0.7, 0.9, 60), {"max_loss": 0.5}, "pass", ""),
        (rows(0.9, 0.9, 60), {"min_score": 0.95}, "fail", "needed 0.95"),
    ],
)
def test_suites(given: list[tuple[float, float]], limits: dict[str, float], outcome: str, words: str) -> None:
    settings = pipeline(gate={"golden_set": "", "suites": [SUITE | limits]}).gate
    verdict = gate.scored({"suite.old-billing": given}, settings, NOW)[-1]
    assert (verdict.check, verdict.outcome) == ("suite.old-billing", outcome)
    assert words in verdict.reason


def test_a_suite_without_scores_does_not_pass() -> None:
    settings = pipeline(gate={"golden_set": "", "suites": [SUITE]}).gate
    assert gate.scored(paired(0.9, 0.1), settings, NOW)[-1].outcome == "inconclusive"


def test_parity() -> None:
    assert gate.parity(20, 18, SETTINGS, NOW).outcome == "pass"
    assert gate.parity(20, 17, SETTINGS, NOW).outcome == "fail"
    assert gate.parity(0, 0, SETTINGS, NOW).outcome == "inconclusive"
    refused = gate.parity(0, 0, SETTINGS, NOW, "the engine answered 400: no such rank")
    assert (refused.outcome, refused.reason) == ("fail", "the engine answered 400: no such rank")


def test_time_and_cost_fail_where_most_prompts_are_beyond_the_limit() -> None:
    def outcomes(**ratios: list[float]) -> list[tuple[str, str]]:
        return [(verdict.check, verdict.outcome) for verdict in gate.smoke(ratios, SETTINGS, NOW)]

    assert outcomes(latency=[1.0] * 12, cost=[1.0] * 12) == [("latency", "pass"), ("cost", "pass")]
    assert outcomes(latency=[1.6] * 12, cost=[2.1] * 12) == [("latency", "fail"), ("cost", "fail")]
    assert outcomes(latency=[9.0, *[1.0] * 11]) == [("latency", "pass")], "one slow answer proves nothing"
    assert outcomes(latency=[1.6] * 4) == [("latency", "pass")], "nor do four"
    assert outcomes() == [], "what was not measured has no verdict"


def test_calibration() -> None:
    right, wrong = [(0.95, 1.0)] * 38 + [(0.95, 0.0)] * 2, [(0.95, 1.0)] * 8 + [(0.95, 0.0)] * 32
    made = [
        gate.calibration({"candidate": a, "champion": b}, SETTINGS, NOW) for a, b in ((right, wrong), (wrong, right))
    ]
    assert [each.outcome for each in made if each] == ["pass", "fail"]
    assert made[0] is not None and made[0].figures["champion"] == pytest.approx(0.75)
    assert gate.calibration({}, SETTINGS, NOW) is None, "it was not measured"
    off = pipeline(gate={"max_calibration_loss": 1}).gate
    assert gate.calibration({"candidate": wrong, "champion": right}, off, NOW) is None


def test_integrity() -> None:
    assert gate.integrity([], NOW).outcome == "pass"
    assert gate.integrity(["sha256 differs"], NOW).outcome == "fail"


def test_no_verdicts_do_not_pass() -> None:
    assert not gate.passes([])
    assert gate.refusal([]) == "nothing was checked"
