"""What a step's figures prove of a candidate, metric by metric: pure.

Quality is harmed where the candidate is worse at all: it is what a new version is made for. On every other metric it is
harmed where it is worse by more than the metric's margin: there a better version may cost something. That quality is
*not* harmed is shown where it cannot be worse by as much as ``rollout.margin``.

Alpha is shared out: ``QUALITY`` of it to quality, whose bet goes on over all steps; the rest in equal parts to the
other metrics, anew in each step.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, log

import numpy as np

from serving.rollout import looks
from serving.rollout.asymptotic import LEAST, excess
from serving.rollout.betting import Floats, Payoffs, interval, log_wealth
from serving.rollout.observed import ArmFigures, Pair, Sample, StepFigures
from serving.rollout.quantiles import bounds
from serving.rollout.sessions import means
from tidemill.settings import MarginSettings, RolloutSettings

Figures = dict[str, float | None]
QUALITY = 0.95
GUARDS = ("failures", "thumbs", "ttft_ms", "ttft_ms_p95", "e2e_ms", "e2e_ms_p95", "cost")
TAIL = 0.95


@dataclass(frozen=True)
class Share:
    """What one comparison may spend."""

    quality: float
    """Alpha of the rollout's bet on quality."""
    guard: float
    """Alpha of each other metric, in this step."""
    harmless: float
    """Chance of calling a candidate harmless that is worse by the margin, in this step."""
    capital: float
    """What the bet on quality begins this step with; 1 would be all that a rollout has."""


@dataclass(frozen=True)
class Judged:
    """What the figures say. ``harm``: why it must go back, empty if nothing is proven."""

    harm: str
    harmless: bool
    """Whether it is shown that quality is not worse by the margin."""
    figures: Figures


def shares(plan: RolloutSettings, comparisons: int, capital: float) -> Share:
    """How a plan's alpha is shared out among metrics and ``comparisons``."""
    guard = (1 - QUALITY) * plan.alpha / (len(GUARDS) * comparisons)
    return Share(QUALITY * plan.alpha, guard, plan.alpha / comparisons, capital)


def judge(now: StepFigures, plan: RolloutSettings, share: Share, champion: str) -> Judged:
    """Judge what is seen now; ``champion`` is its version, for the words. Some milliseconds."""
    path = log(share.capital) + looks.log_wealth(now.quality)
    peak = float(path.max(initial=log(share.capital)))
    figures: Figures = {
        "champion_n": float(now.champion.scored),
        "champion_mean": now.champion.mean,
        "candidate_n": float(now.candidate.scored),
        "candidate_mean": now.candidate.mean,
        "candidate_answers": float(now.candidate.answers),
        "candidate_failed": float(now.candidate.failed),
        "differences": float(now.quality.n),
        "difference": now.quality.mean,
        "evidence_of_harm": exp(min(peak, 27.0)),
        "evidence_needed": 1 / share.quality,
        "log_wealth": float(path[-1]) if now.quality.n else log(share.capital),
    }
    harms = []
    if now.quality.n and peak >= -log(share.quality):
        harms.append(f"worse than {champion} by {now.quality.mean:.2f} ({now.quality.n} differences)")
    margins = plan.margins
    if _proven(now.failures, margins.failures, share.guard):
        harms.append(f"{_failed(now.candidate)} answers failed, of {champion} {_failed(now.champion)}")
    if _proven(now.thumbs, margins.thumbs, share.guard):
        harms.append(f"thumbs are worse than for {champion} by {now.thumbs.mean:.2f}")
    for metric, pair in now.amounts.items():
        said, found = _amount(metric, pair, _margin(margins, metric), share.guard, champion)
        figures |= found
        harms += said
    shown = log_wealth(now.quality.reversed(), -plan.margin).max(initial=0.0) >= -log(share.harmless)
    return Judged("; ".join(harms), bool(shown), figures)


def with_interval(figures: Figures, quality: Payoffs, share: Share) -> Figures:
    """The figures with the interval of quality's difference in this step: for what is written down."""
    low, high = interval(quality, share.harmless)
    return figures | {"difference_low": low, "difference_high": high}


def _proven(payoffs: Payoffs, margin: float, alpha: float) -> bool:
    return margin < 1 and bool(log_wealth(payoffs, margin).max(initial=0.0) >= -log(alpha))


def _failed(arm: ArmFigures) -> str:
    return f"{arm.failed} of {arm.answers}"


def _margin(margins: MarginSettings, metric: str) -> float:
    return {"ttft_ms": margins.ttft, "e2e_ms": margins.duration, "cost": margins.cost}[metric]


def _amount(metric: str, pair: Pair, margin: float, alpha: float, champion: str) -> tuple[list[str], Figures]:
    """What is proven of one unbounded metric, and its figures. Durations are compared by their geometric means (their
    tails are long) and by their p95, money by its mean."""
    money = metric == "cost"
    ours, theirs = (_units(sample, logarithm=not money) for sample in (pair.candidate, pair.champion))
    if min(len(ours), len(theirs)) < LEAST:
        return [], {}
    candidate, beside = float(ours.mean()), float(theirs.mean())
    if money:
        above = excess(ours, theirs, 1 + margin, alpha) > 0
    else:
        above = excess(ours, theirs, 1.0, alpha) > log(1 + margin)
        candidate, beside = exp(candidate), exp(beside)
    found = (
        [(metric, above, candidate, beside)]
        if money
        else [(metric, above, candidate, beside), _tail(metric, pair, margin, alpha)]
    )
    harms = [
        f"{name} is {ours / max(theirs, 1e-9):.2f} times that of {champion}"
        for name, proven, ours, theirs in found
        if proven
    ]
    figures: Figures = {}
    for name, _, mine, other in found:
        figures |= {f"candidate_{name}": mine, f"champion_{name}": other}
    return harms, figures


def _tail(metric: str, pair: Pair, margin: float, alpha: float) -> tuple[str, bool, float, float]:
    """Name, whether the candidate's p95 is proven to be too long, and both arms' p95."""
    low, _ = bounds(pair.candidate.values, pair.candidate.units, TAIL, alpha / 2)
    _, high = bounds(pair.champion.values, pair.champion.units, TAIL, alpha / 2)
    candidate, beside = (float(np.quantile(each.values, TAIL)) for each in (pair.candidate, pair.champion))
    return f"{metric}_p95", low > (1 + margin) * high, candidate, beside


def _units(sample: Sample, *, logarithm: bool) -> Floats:
    values = np.log(np.maximum(sample.values, 0.1)) if logarithm else sample.values
    return means(values, sample.units) if len(values) else values
