"""What a candidate must show before it sees traffic: pure verdicts from measured figures.

Candidate and champion are scored now, by the same program on the same data. ``inconclusive`` does not pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from tidemill.events import Score, Verdict
from tidemill.settings import GateSettings

_ROUNDING = 1e-9


def integrity(problems: Sequence[str], now_ms: int) -> Verdict:
    """Passes when the adapter's files are what the training said (see retrain.adapter)."""
    if problems:
        return Verdict(check="integrity", outcome="fail", reason="; ".join(problems), time_ms=now_ms)
    return Verdict(check="integrity", outcome="pass", reason="the adapter is what the training wrote", time_ms=now_ms)


def scored(scores: Mapping[str, Score], gate: GateSettings, now_ms: int) -> list[Verdict]:
    """Verdicts on the scores by ``<model>/<data set>``: candidate and champion on verified and golden."""
    fresh = _Pair(scores, "verified")
    verdicts = [_quality(fresh, gate, now_ms), _gain(fresh, gate, now_ms)]
    if gate.golden_set:
        verdicts.append(_golden(_Pair(scores, "golden"), gate, now_ms))
    return verdicts


def parity(asked: int, equal: int, gate: GateSettings, now_ms: int, problem: str = "") -> Verdict:
    """Passes when the engine takes the adapter (else ``problem``) and answers as in training on enough samples."""
    share = equal / asked if asked else None
    figures: dict[str, float | None] = {"asked": asked, "equal": equal, "share": share, "needed": gate.min_parity}
    if problem:
        return _verdict("parity", False, problem, figures, now_ms)
    if share is None:
        return _verdict("parity", None, "no prompts to ask the engine", figures, now_ms)
    reason = f"{equal} of {asked} answers of the engine are the training's, needed {gate.min_parity:.0%}"
    return _verdict("parity", share >= gate.min_parity, reason, figures, now_ms)


def passes(verdicts: Sequence[Verdict]) -> bool:
    """Whether every check passed; none at all does not pass."""
    return bool(verdicts) and all(verdict.outcome == "pass" for verdict in verdicts)


def refusal(verdicts: Sequence[Verdict]) -> str:
    """Why the candidate does not pass, in words; empty when it does."""
    if not verdicts:
        return "nothing was checked"
    return "; ".join(f"{v.check} {v.outcome}: {v.reason}" for v in verdicts if v.outcome != "pass")


class _Pair:
    """Candidate and champion on one data set."""

    def __init__(self, scores: Mapping[str, Score], data_set: str) -> None:
        nothing = Score(n=0, mean=None)
        self.candidate = scores.get(f"candidate/{data_set}", nothing)
        self.champion = scores.get(f"champion/{data_set}", nothing)

    def figures(self, bound: float) -> dict[str, float | None]:
        return {
            "n": self.candidate.n,
            "candidate": self.candidate.mean,
            "champion": self.champion.mean,
            "bound": bound,
        }


def _quality(pair: _Pair, gate: GateSettings, now_ms: int) -> Verdict:
    figures, got = pair.figures(gate.min_quality), pair.candidate
    if got.mean is None or got.n < gate.min_verified:
        return _verdict("verified_quality", None, _few(got, gate), figures, now_ms)
    reason = f"{got.mean:.2f} on {got.n} verified labels, needed {gate.min_quality:g}"
    return _verdict("verified_quality", got.mean >= gate.min_quality, reason, figures, now_ms)


def _gain(pair: _Pair, gate: GateSettings, now_ms: int) -> Verdict:
    figures, got, base = pair.figures(gate.min_gain), pair.candidate, pair.champion
    if got.mean is None or base.mean is None or got.n < gate.min_verified:
        return _verdict("verified_gain", None, _few(got, gate), figures, now_ms)
    gain = got.mean - base.mean
    reason = f"{gain:+.2f} over the champion's {base.mean:.2f}, needed {gate.min_gain:+g}"
    return _verdict("verified_gain", gain >= gate.min_gain - _ROUNDING, reason, figures, now_ms)


def _golden(pair: _Pair, gate: GateSettings, now_ms: int) -> Verdict:
    figures, got, base = pair.figures(gate.max_golden_loss), pair.candidate, pair.champion
    if got.mean is None or base.mean is None:
        return _verdict("golden_loss", None, "the golden set gave no scores", figures, now_ms)
    reason = f"{got.mean:.2f} against the champion's {base.mean:.2f} on {got.n}, at most {gate.max_golden_loss:g} lost"
    return _verdict("golden_loss", base.mean - got.mean <= gate.max_golden_loss + _ROUNDING, reason, figures, now_ms)


def _few(got: Score, gate: GateSettings) -> str:
    return f"{got.n} verified held-out labels; at least gate.min_verified = {gate.min_verified} are needed"


def _verdict(check: str, passed: bool | None, reason: str, figures: dict[str, float | None], now_ms: int) -> Verdict:
    """``passed`` None means inconclusive."""
    outcome: Literal["pass", "fail", "inconclusive"]
    outcome = "inconclusive" if passed is None else "pass" if passed else "fail"
    return Verdict(check=check, outcome=outcome, reason=reason, figures=figures, time_ms=now_ms)
