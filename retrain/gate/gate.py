"""What a candidate must show before it sees traffic: pure verdicts from measured figures.

Candidate and champion are scored now, by the same program on the same rows. ``inconclusive`` does not pass, and says
how many rows would do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from retrain.gate.calibration import Told, calibration_error, surely_worse
from retrain.gate.paired import lower_bound, rows_needed, sign_test, surely_above
from tidemill.events import Score, Verdict
from tidemill.settings import GateSettings, SuiteSettings

Paired = Mapping[str, Sequence[Sequence[float]]]
"""By data set: for each row that is comparable, the candidate's score and the champion's."""
SUITE = "suite."
_ROUNDING = 1e-9


def integrity(problems: Sequence[str], now_ms: int) -> Verdict:
    """Passes when the adapter's files are what the training said (see retrain.adapter)."""
    if problems:
        return Verdict(check="integrity", outcome="fail", reason="; ".join(problems), time_ms=now_ms)
    return Verdict(check="integrity", outcome="pass", reason="the adapter is what the training wrote", time_ms=now_ms)


def scored(paired: Paired, gate: GateSettings, now_ms: int) -> list[Verdict]:
    """Verdicts on the scores of both models: on verified labels, on the golden set, and suite by suite."""
    fresh = _Pair(paired.get("verified", ()), gate)
    verdicts = [_quality(fresh, gate, now_ms), _gain(fresh, gate, now_ms)]
    if gate.golden_set:
        verdicts.append(_golden(_Pair(paired.get("golden", ()), gate), gate, now_ms))
    for suite in gate.suites:
        verdicts.append(_suite(suite, _Pair(paired.get(SUITE + suite.name, ()), gate), now_ms))
    return verdicts


def scores(paired: Paired) -> dict[str, Score]:
    """Means by ``<model>/<data set>``."""
    made: dict[str, Score] = {}
    for name, rows in paired.items():
        for place, model in enumerate(("candidate", "champion")):
            mean = sum(row[place] for row in rows) / len(rows) if rows else None
            made[f"{model}/{name}"] = Score(n=len(rows), mean=mean)
    return made


def calibration(told: Mapping[str, Sequence[Told]], gate: GateSettings, now_ms: int) -> Verdict | None:
    """The certainty of both models' answers to the verified rows compared; None where it is not judged or measured."""
    candidate, champion = told.get("candidate", ()), told.get("champion", ())
    if gate.max_calibration_loss >= 1 or len(candidate) < gate.min_verified or len(candidate) != len(champion):
        return None
    ours, theirs = calibration_error(candidate), calibration_error(champion)
    figures = {"n": float(len(candidate)), "candidate": ours, "champion": theirs, "bound": gate.max_calibration_loss}
    worse = surely_worse(candidate, champion, gate.max_calibration_loss, gate.alpha)
    reason = f"error {ours:.2f} against the champion's {theirs:.2f} on {len(candidate)}"
    reason += f", surely more than {gate.max_calibration_loss:g} worse" if worse else ""
    return _verdict("calibration", not worse, reason, figures, now_ms)


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


def smoke(ratios: Mapping[str, Sequence[float]], gate: GateSettings, now_ms: int) -> list[Verdict]:
    """Time and cost in the engine, the candidate's over the champion's prompt by prompt; what has no ratios has none.

    Fails where surely most prompts are above the limit (exact sign test): one slow answer proves nothing.
    """
    made = []
    limits = {"latency": ("takes", 1 + gate.max_slowdown), "cost": ("costs", 1 + gate.max_cost_increase)}
    for check, (verb, limit) in limits.items():
        known = sorted(ratios.get(check, ()))
        if not known:
            continue
        above = sum(ratio > limit for ratio in known)
        worse = sign_test(above, len(known) - above) <= gate.alpha
        middle = known[len(known) // 2]
        figures: dict[str, float | None] = {"n": len(known), "ratio": middle, "bound": limit, "above": above}
        reason = f"the candidate {verb} {middle:.2f} times the champion's (median of {len(known)}), at most {limit:g}"
        made.append(_verdict(check, not worse, reason, figures, now_ms))
    return made


def passes(verdicts: Sequence[Verdict]) -> bool:
    """Whether every check passed; none at all does not pass."""
    return bool(verdicts) and all(verdict.outcome == "pass" for verdict in verdicts)


def outcome(verdicts: Sequence[Verdict]) -> Literal["pass", "fail", "inconclusive"]:
    """The gate's own verdict: a failed check decides, then one that cannot say."""
    if passes(verdicts):
        return "pass"
    return "fail" if any(verdict.outcome == "fail" for verdict in verdicts) else "inconclusive"


def refusal(verdicts: Sequence[Verdict]) -> str:
    """Why the candidate does not pass, in words; empty when it does."""
    if not verdicts:
        return "nothing was checked"
    return "; ".join(f"{v.check} {v.outcome}: {v.reason}" for v in verdicts if v.outcome != "pass")


class _Pair:
    """Candidate and champion on one data set, row by row."""

    def __init__(self, rows: Sequence[Sequence[float]], gate: GateSettings) -> None:
        self.n = len(rows)
        self.alpha = gate.alpha
        self.differences = [ours - theirs for ours, theirs in rows]
        self.candidate = sum(ours for ours, _ in rows) / self.n if rows else None
        self.champion = sum(theirs for _, theirs in rows) / self.n if rows else None

    @property
    def gain(self) -> float:
        """The mean difference; 0 without rows."""
        return sum(self.differences) / self.n if self.n else 0.0

    def figures(self, bound: float) -> dict[str, float | None]:
        return {
            "n": self.n,
            "candidate": self.candidate,
            "champion": self.champion,
            "bound": bound,
            "gain_at_least": lower_bound(self.differences, self.alpha) if self.n else None,
        }

    def shows(self, level: float) -> bool:
        """Whether the gain is surely above the level."""
        return surely_above(self.differences, level, self.alpha)

    def more(self, level: float) -> str:
        """How many rows would show it, in words."""
        needed = rows_needed(self.differences, level, self.alpha)
        return "" if needed is None else f"; about {needed:,} rows like these would"

    def loses_less(self, most: float) -> tuple[bool | None, str]:
        """Whether less than ``most`` is surely lost, and the figures in words; None: it cannot be said."""
        words = f"{self.candidate:.2f} against the champion's {self.champion:.2f} on {self.n}, at most {most:g} lost"
        if -self.gain > most + _ROUNDING:
            return False, words
        if self.shows(-most):
            return True, words
        return None, f"{words}: not shown on so few{self.more(-most)}"


def _quality(pair: _Pair, gate: GateSettings, now_ms: int) -> Verdict:
    figures = pair.figures(gate.min_quality)
    if pair.candidate is None or pair.n < gate.min_verified:
        return _verdict("verified_quality", None, _few(pair, gate), figures, now_ms)
    reason = f"{pair.candidate:.2f} on {pair.n} verified labels, needed {gate.min_quality:g}"
    return _verdict("verified_quality", pair.candidate >= gate.min_quality, reason, figures, now_ms)


def _gain(pair: _Pair, gate: GateSettings, now_ms: int) -> Verdict:
    figures = pair.figures(gate.min_gain)
    if pair.champion is None or pair.n < gate.min_verified:
        return _verdict("verified_gain", None, _few(pair, gate), figures, now_ms)
    reason = f"{pair.gain:+.2f} over the champion's {pair.champion:.2f}, needed {gate.min_gain:+g}"
    if pair.gain < gate.min_gain - _ROUNDING:
        return _verdict("verified_gain", False, reason, figures, now_ms)
    if gate.min_gain and not pair.shows(0):
        reason += f": chance alone may do that on {pair.n} rows{pair.more(0)}"
        return _verdict("verified_gain", None, reason, figures, now_ms)
    return _verdict("verified_gain", True, reason, figures, now_ms)


def _golden(pair: _Pair, gate: GateSettings, now_ms: int) -> Verdict:
    figures = pair.figures(gate.max_golden_loss)
    if not pair.n:
        return _verdict("golden_loss", None, "the golden set gave no scores", figures, now_ms)
    passed, reason = pair.loses_less(gate.max_golden_loss)
    return _verdict("golden_loss", passed, reason, figures, now_ms)


def _suite(suite: SuiteSettings, pair: _Pair, now_ms: int) -> Verdict:
    check, figures = SUITE + suite.name, pair.figures(suite.max_loss) | {"min_score": suite.min_score}
    if pair.candidate is None or pair.n < suite.min_rows:
        reason = f"{pair.n} comparable rows; at least min_rows = {suite.min_rows} are needed"
        return _verdict(check, None, reason, figures, now_ms)
    if pair.candidate < suite.min_score - _ROUNDING:
        reason = f"{pair.candidate:.2f} on {pair.n}, needed {suite.min_score:g}"
        return _verdict(check, False, reason, figures, now_ms)
    passed, reason = pair.loses_less(suite.max_loss)
    return _verdict(check, passed, reason, figures, now_ms)


def _few(pair: _Pair, gate: GateSettings) -> str:
    return f"{pair.n} verified held-out labels; at least gate.min_verified = {gate.min_verified} are needed"


def _verdict(check: str, passed: bool | None, reason: str, figures: Mapping[str, float | None], now_ms: int) -> Verdict:
    """``passed`` None means inconclusive."""
    outcome: Literal["pass", "fail", "inconclusive"]
    outcome = "inconclusive" if passed is None else "pass" if passed else "fail"
    return Verdict(check=check, outcome=outcome, reason=reason, figures=dict(figures), time_ms=now_ms)
