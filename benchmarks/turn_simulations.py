"""Simulated rollouts, judged by the product's own code: how often equal arms are called harmful, and harm is found."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from math import log
from statistics import NormalDist, median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.turn_users import step_rows
from serving.rollout import betting, looks
from serving.rollout.betting import paired, randomised
from serving.rollout.decide import KEPT, comparisons
from serving.rollout.judge import Judged, judge, shares
from serving.rollout.observed import Pair, Sample, StepFigures
from tidemill.settings import RolloutSettings

Floats = NDArray[np.float64]
Steps = Callable[[np.random.Generator], Iterable[Iterable[StepFigures]]]
"""Makes what is seen at the looks of each step."""

PLAN = RolloutSettings()
ALONE = RolloutSettings(steps=(25, 100), shadow_percent=0)
ALPHA = PLAN.alpha
CALLS = 2_000
"""Labelled calls of each step of a rollout of equal arms."""
LOOKS = 8
LEVEL, SOUND, LIKED, SPREAD = 0.85, 0.98, 0.9, 0.6
AMOUNT = 1.5
DAYS, A_DAY = 30, 200
MOST_USERS, MOST_SLOW = 3_000, 2_000
"""Rollouts of the parts that take longer."""


class Case(NamedTuple):
    """A harm, and the labelled calls within which it should be proven."""

    champion: float
    candidate: float
    calls: int


CASES = {"large": Case(0.8, 0.4, 150), "medium": Case(0.8, 0.6, 500), "small": Case(0.85, 0.8, 4_000)}
OTHERS = {
    "0.1": Case(0.8, 0.7, 1_800),
    "0.3": Case(0.8, 0.5, 230),
    "0.03": Case(0.9, 0.87, 6_000),
    "0.1, near 1": Case(0.95, 0.85, 800),
    "0.15": Case(0.6, 0.45, 900),
    "0.8": Case(0.9, 0.1, 60),
}
"""Harms that nothing was chosen by, with calls for which the knowing bet finds most."""


class Counts(NamedTuple):
    """How many rollouts of equal arms are simulated: fewer where each takes long."""

    users: int
    taken: int
    peeked: int

    @staticmethod
    def of(runs: int) -> Counts:
        """For so many rollouts of calls."""
        return Counts(min(runs, MOST_USERS), max(runs // 10, 100), max(runs, 10_000))


class False30(NamedTuple):
    """Shares of rollouts of equal arms that are called harmful."""

    calls: float
    sessions: float
    as_calls: float
    daily: float


class Power(NamedTuple):
    """Shares in which a harm is proven in time, by test."""

    ours: float
    first_of_five: float
    steady: float
    pairs: float
    knowing: float
    median: float | None
    """Labelled calls until ours has proven it, where it has."""


def false_alarms(runs: int) -> False30:
    """Rollouts of equal arms over the whole default plan."""
    whole = partial(_rollout, _steps)
    users = partial(_rollout, partial(_user_steps, as_calls=False))
    taken = partial(_rollout, partial(_user_steps, as_calls=True))
    counts = Counts.of(runs)
    return False30(
        _share("equal arms", whole, runs),
        _share("equal arms, users who stay", users, counts.users),
        _share("the same, taken for calls", taken, counts.taken),
        float(np.mean([_peeked(np.random.default_rng([30, run])) for run in range(counts.peeked)])),
    )


def powers(runs: int) -> dict[str, Power]:
    """By case: how often, and how soon, harm is proven at a canary of 25 %. The others take a fifth of the runs."""
    found = {name: _power(name, case, runs) for name, case in CASES.items()}
    return found | {name: _power(name, case, max(runs // 5, 100)) for name, case in OTHERS.items()}


def _power(name: str, case: Case, runs: int) -> Power:
    needed = -log(shares(ALONE, 1, 1.0).quality)
    found, counts = [], np.zeros(4)
    for run in _said(f"power, {name}", runs):
        rng = np.random.default_rng([1, run])
        mine = rng.random(case.calls) < 0.25
        scores = (rng.random(case.calls) < np.where(mine, case.candidate, case.champion)).astype(float)
        payoffs = randomised(mine, np.full(case.calls, 0.25), scores)
        path = looks.log_wealth(payoffs)
        if (over := np.flatnonzero(path >= needed)).size:
            found.append(int(over[0]) + 1)
        counts += (
            path.max() + log(1 - KEPT) >= needed,
            betting.log_wealth(payoffs, 0.0).max() >= needed,
            _differences(mine, scores) >= needed,
            _known(mine, scores, case).max() >= needed,
        )
    first, steady, pairs, knowing = (float(count) / runs for count in counts)
    return Power(len(found) / runs, first, steady, pairs, knowing, float(median(found)) if found else None)


def slower(runs: int) -> dict[float, float]:
    """By the spread of the logarithm: how often answers that take ``AMOUNT`` times as long are found."""
    return {
        spread: _share(f"slower, {spread:g}", partial(_slow, spread), min(runs, MOST_SLOW))
        for spread in (0.4, 0.6, 0.8, 1.0)
    }


def _share(what: str, harmed: Callable[[np.random.Generator], bool], runs: int) -> float:
    return sum(harmed(np.random.default_rng([2, run])) for run in _said(what, runs)) / runs


def _said(what: str, runs: int) -> Iterator[int]:
    for run in range(runs):
        if run % max(runs // 10, 1) == 0:
            print(f"turn: {what}, {run} of {runs}", file=sys.stderr, flush=True)
        yield run


def _rollout(steps: Steps, rng: np.random.Generator) -> bool:
    """Whether a rollout is called harmful at any look of any step."""
    over, left = comparisons(PLAN), 0.0
    for number, seen in enumerate(steps(rng)):
        capital = left + (1 - KEPT if number == 0 else KEPT / (over - 1))
        found: Judged | None = None
        for figures in seen:
            found = judge(figures, PLAN, shares(PLAN, over, capital), "champion")
            if found.harm:
                return True
        assert found is not None
        left = float(np.exp(found.figures["log_wealth"] or 0.0))
    return False


def _steps(rng: np.random.Generator) -> Iterator[Iterable[StepFigures]]:
    """The shadow, then each step of the canary: calls that are sessions of their own."""
    both = [(rng.random((2, CALLS)) < level).astype(float) for level in (LEVEL, SOUND)]
    yield [StepFigures(quality=paired(both[0][0] - both[0][1]), failures=paired(both[1][0] - both[1][1], SOUND))]
    for weight in PLAN.steps[:-1]:
        share, mine = np.full(CALLS, weight / 100), rng.random(CALLS) < weight / 100
        drawn = [(rng.random(CALLS) < level).astype(float) for level in (LEVEL, SOUND, LIKED)]
        quality, failures, thumbs = (
            randomised(mine, share, hits, guess) for hits, guess in zip(drawn, (0.5, SOUND, 0.5), strict=True)
        )
        times = rng.lognormal(0.0, SPREAD, (3, CALLS))
        shown = []
        for n in np.linspace(CALLS / LOOKS, CALLS, LOOKS).astype(int):
            amounts = {
                name: _pair(mine[:n], row[:n]) for name, row in zip(("ttft_ms", "e2e_ms", "cost"), times, strict=True)
            }
            shown.append(StepFigures(amounts=amounts))
        shown[-1] = StepFigures(quality=quality, failures=failures, thumbs=thumbs, amounts=shown[-1].amounts)
        yield shown


def _user_steps(rng: np.random.Generator, *, as_calls: bool) -> Iterator[Iterable[StepFigures]]:
    """The same with users who stay, through the rows of the store."""
    return step_rows(rng, PLAN, CALLS, as_calls=as_calls)


def _pair(mine: NDArray[np.bool_], values: Floats) -> Pair:
    champion, candidate = values[~mine], values[mine]
    return Pair(Sample(champion, np.arange(len(champion))), Sample(candidate, np.arange(len(candidate))))


def _peeked(rng: np.random.Generator) -> bool:
    """Whether a two-sided z-test of two equal shares, repeated each day on all data, ever says that they differ."""
    hits = np.cumsum(rng.binomial(A_DAY, LEVEL, (2, DAYS)), axis=1)
    n = A_DAY * np.arange(1, DAYS + 1)
    pooled = hits.sum(axis=0) / (2 * n)
    z = (hits[0] - hits[1]) / n / np.sqrt(2 * pooled * (1 - pooled) / n)
    return bool(np.any(np.abs(z) > NormalDist().inv_cdf(0.975)))


def _slow(spread: float, rng: np.random.Generator) -> bool:
    """Whether it is found in the first step of the default plan's share of alpha, looking every 100 calls."""
    mine = rng.random(2_000) < 0.25
    times = rng.lognormal(0.0, spread, 2_000) * np.where(mine, AMOUNT, 1.0)
    share = shares(PLAN, comparisons(PLAN), 1.0)
    for n in range(400, 2_001, 100):
        begun = np.flatnonzero(mine)[19] + 1  # the warm-up
        figures = StepFigures(amounts={"e2e_ms": _pair(mine[begun:n], times[begun:n])})
        if judge(figures, PLAN, share, "champion").harm:
            return True
    return False


def _known(mine: NDArray[np.bool_], scores: Floats, case: Case) -> Floats:
    """The best that any test with a promise over all looks can do: the stake for the two levels themselves."""
    pooled = 0.25 * case.candidate + 0.75 * case.champion
    level = np.where(mine, case.candidate, case.champion)
    wealth: Floats = np.cumsum(np.log(np.where(scores > 0, level / pooled, (1 - level) / (1 - pooled))))
    return wealth


def _differences(mine: Sequence[bool] | NDArray[np.bool_], scores: Floats) -> float:
    """What the rollout did before: means of both arms since the last difference, eleven fixed stakes."""
    held: tuple[list[float], list[float]] = ([], [])
    found = []
    for is_candidate, score in zip(mine, scores, strict=True):
        held[bool(is_candidate)].append(float(score))
        if held[0] and held[1]:
            found.append(sum(held[0]) / len(held[0]) - sum(held[1]) / len(held[1]))
            held = ([], [])
    stakes = np.array([0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    paths = np.cumsum(np.log1p(stakes[:, None] * np.array(found)), axis=1)
    return float((np.logaddexp.reduce(paths, axis=0) - log(len(stakes))).max(initial=0.0))
