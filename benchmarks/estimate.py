"""Does the label-free estimate cover, how wide is it, and does it notice when it must fail?

    python -m benchmarks.estimate [--page] [--json]

Simulated traffic with a known truth, seeded: calls with log-probabilities (and, in one scenario, self-agreement), of
which some are labelled; then unlabelled calls whose mix has moved. Beside it stand what one would do without: the mean
of the labels, and the answers' own confidence. ``--page`` writes the tables into docs/explanation/label-free.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.frame import Goal, Result, Table, number
from streams.estimate.bins import Features, bin_of, count_bins
from streams.estimate.estimator import Estimator

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "label-free.md"
RUNS = 200
CALLS = 1000
"""Unlabelled calls of one estimate."""
LEVEL = 0.95
QUIET_LABELS = 100_000
"""Labels without any change, to count false alarms on."""
Array = Any


@dataclass(frozen=True)
class Traffic:
    """Calls of two kinds, easy and hard; what a score depends on is the log-probability (and the agreement)."""

    hard: float
    """Share of hard calls."""
    agreement: float = 0.0
    """Share of the calls that are asked for twice."""
    unsure_word: float = 0.0
    """Share of calls whose answers hang on one word that the mean over all their words hides: the surer the model is of
    it, the more often it is right, and says it again."""
    worse: float = 0.0
    """Concept shift: so much is taken from each call's chance of a right answer."""

    def draw(self, chance: np.random.Generator, n: int) -> tuple[list[Features], Array]:
        """Features and scores of n calls."""
        hard = chance.random(n) < self.hard
        unsure = np.exp(chance.normal(np.where(hard, -1.2, -4.0), np.where(hard, 0.7, 1.1)))
        right = 1 / (1 + np.exp(1.6 * (np.log(unsure) + 1.3)))
        agreed = np.zeros(n)
        if self.unsure_word:
            right = np.where(chance.random(n) < self.unsure_word, chance.uniform(0.2, 1, n), right)
            agreed = (chance.random(n) < right).astype(float)
        elif self.agreement:
            agreed = np.clip(right + chance.normal(0, 0.15, n), 0, 1)
            right = np.clip(0.5 * right + 0.5 * agreed, 0, 1)
        scores = (chance.random(n) < np.clip(right - self.worse, 0, 1)).astype(float)
        twice = chance.random(n) < self.agreement if self.agreement else np.zeros(n)
        said = [value if is_twice else None for value, is_twice in zip(agreed.tolist(), twice.tolist(), strict=True)]
        return [Features(-u, a) for u, a in zip(unsure.tolist(), said, strict=True)], scores


@dataclass(frozen=True)
class Scenario:
    """What is labelled, and what comes then."""

    name: str
    before: Traffic
    after: Traffic


SCENARIOS = (
    Scenario("no shift", Traffic(0.1), Traffic(0.1)),
    Scenario("covariate shift: hard calls 10 → 30 %", Traffic(0.1), Traffic(0.3)),
    Scenario("covariate shift: hard calls 10 → 80 %", Traffic(0.1), Traffic(0.8)),
    Scenario("10 → 80 %, all asked twice", Traffic(0.1, 1), Traffic(0.8, 1)),
    *(
        Scenario(f"an unsure word: 5 → 40 %{asked}", Traffic(0.1, share, 0.05), Traffic(0.1, share, 0.4))
        for asked, share in (("", 0), (", a fifth asked twice", 0.2), (", all asked twice", 1))
    ),
    Scenario("concept shift: chances 0.2 lower", Traffic(0.1), Traffic(0.1, worse=0.2)),
)


def covered(scenario: Scenario, labels: int, seed: int) -> dict[str, float]:
    """Coverage, width and errors over RUNS independent runs."""
    chance = np.random.default_rng([seed, labels])
    rows = []
    for _ in range(RUNS):
        made = Estimator()
        features, scores = scenario.before.draw(chance, labels)
        for each, score in zip(features, scores.tolist(), strict=True):
            made.snapshot().calibration.add(bin_of(each), score)
        unlabelled, truth = scenario.after.draw(chance, CALLS)
        said = made.estimate(count_bins(unlabelled), LEVEL)
        assert said.value is not None and said.low is not None and said.high is not None
        mean = float(truth.mean())
        confidence = float(np.mean([np.exp(each.mean_logprob or 0.0) for each in unlabelled]))
        rows.append(
            (
                said.low <= mean <= said.high,
                said.high - said.low,
                abs(said.value - mean),
                abs(float(scores.mean()) - mean),
                abs(confidence - mean),
                said.outside,
            )
        )
    names = ("coverage", "width", "error", "error_label_mean", "error_confidence", "outside")
    return dict(zip(names, np.mean(np.array(rows, dtype=float), axis=0).round(4).tolist(), strict=True))


def false_alarms(seed: int) -> int:
    """Restarts over QUIET_LABELS labels without any change."""
    return _fed(Estimator(), Traffic(0.1), QUIET_LABELS, np.random.default_rng(seed)).snapshot().restarts


def delay(worse: float, seed: int, before: int = 1000) -> int | None:
    """Labels from a concept shift to its proof; None: not within 5,000."""
    chance = np.random.default_rng([seed, round(100 * worse)])
    made = _fed(Estimator(), Traffic(0.1), before, chance)
    features, scores = Traffic(0.1, worse=worse).draw(chance, 5000)
    for count, (each, score) in enumerate(zip(features, scores.tolist(), strict=True), start=1):
        if made.label(each, score):
            return count
    return None


def _fed(made: Estimator, traffic: Traffic, n: int, chance: np.random.Generator) -> Estimator:
    features, scores = traffic.draw(chance, n)
    for each, score in zip(features, scores.tolist(), strict=True):
        made.label(each, score)
    return made


def measure(seed: int = 0, labels: Sequence[int] = (200, 1000, 5000)) -> Result:
    """All scenarios; about half a minute of processor time."""
    rows, goals = [], []
    figures: dict[str, Any] = {}
    for scenario in SCENARIOS:
        for count in labels:
            found = covered(scenario, count, seed)
            figures[f"{scenario.name}, {count} labels"] = found
            rows.append((scenario.name, f"{count:,}", *(number(found[name]) for name in found)))
            if "concept" not in scenario.name and not scenario.before.unsure_word:
                goals.append(Goal(f"coverage: {scenario.name}, {count} labels", found["coverage"], "", 0.92, "higher"))
    quiet = false_alarms(seed)
    goals.append(Goal("false alarms of the check", quiet, f"in {QUIET_LABELS:,} labels", 10, "lower"))
    delays = {worse: [delay(worse, seed + run) for run in range(20)] for worse in (0.1, 0.2, 0.4)}
    figures["check"] = {"false_alarms": quiet, "delays": {str(worse): found for worse, found in delays.items()}}
    columns = ("scenario", "labels", "covers", "width", "error", "error of the labels' mean", "of the confidence")
    return Result(
        "estimate",
        figures,
        goals,
        page=PAGE,
        tables=(
            Table(f"{RUNS} runs each, {CALLS:,} unlabelled calls", (*columns, "outside"), rows),
            Table(
                "Labels from a concept shift to its proof, 20 runs each",
                ("every chance lower by", "found", "median", "longest"),
                [(f"{worse}", *_delays(found)) for worse, found in delays.items()],
            ),
        ),
    )


def _delays(found: Sequence[int | None]) -> tuple[str, str, str]:
    known = sorted(each for each in found if each is not None)
    return (
        f"{len(known)} of {len(found)}",
        number(float(np.median(known))) if known else "–",
        number(max(known, default=0)),
    )


def main() -> None:
    """Command line entry."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.estimate", description="The label-free estimate.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--page", action="store_true", help=f"write the tables into {PAGE.name}")
    parser.add_argument("--json", action="store_true", help="only the JSON line")
    asked = parser.parse_args()
    result = measure(asked.seed)
    if not asked.json:
        result.show(Console(highlight=False))
    if asked.page:
        result.into_page()
    print(result.line())


if __name__ == "__main__":
    main()
