"""What the text of calls was like at first: the reference that drift is measured against.

The reference is gathered in batches of calls. How much a metric varies from batch to batch (each against the others)
says later what is unusual. Batches hold a fixed number of calls, whatever the traffic: a distance between word
counts depends on how many words there are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec import Struct, field

from streams.detectors.words import distance, unseen_share
from streams.windows.tally import Sums, Tally, add_counts

BATCHES = 8
"""The reference is at least this many batches."""
WORD_METRICS = ("input_unseen_share", "input_word_distance")


class Batch(Struct, omit_defaults=True):
    """The text features of some calls in a row."""

    start_ms: int = 0
    calls: int = 0
    words: dict[int, int] = field(default_factory=dict)
    moments: dict[str, Sums] = field(default_factory=dict)

    def add(self, tally: Tally, start_ms: int, metrics: Sequence[str]) -> None:
        """Take in the sampled calls of one window."""
        self.start_ms = self.start_ms or start_ms
        self.calls += tally.sampled
        add_counts(self.words, tally.words)
        for metric in metrics:
            if sums := tally.moments.get(metric):
                self.moments.setdefault(metric, Sums()).add(sums.n, sums.total, sums.total_sq)

    def value(self, metric: str, reference: dict[int, int]) -> float | None:
        """The metric over this batch; word metrics against ``reference``."""
        if metric in WORD_METRICS:
            return word_metric(metric, self.words, reference)
        sums = self.moments.get(metric)
        return sums.mean if sums else None


class Level(Struct, frozen=True, array_like=True):
    """A metric's usual value per batch, and its standard deviation (never zero)."""

    mean: float
    deviation: float

    def z(self, value: float) -> float:
        """How many deviations ``value`` is off."""
        return (value - self.mean) / self.deviation


def word_metric(metric: str, words: dict[int, int], reference: dict[int, int]) -> float | None:
    """``input_unseen_share`` or ``input_word_distance``."""
    return unseen_share(words, reference) if metric == "input_unseen_share" else distance(words, reference)


def levels(batches: Sequence[Batch], metrics: Sequence[str]) -> dict[str, Level]:
    """The usual level of each metric that has a value in all batches; each batch against the words of the others."""
    found: dict[str, Level] = {}
    for metric in metrics:
        values = []
        for index, batch in enumerate(batches):
            others = joined_words([other for i, other in enumerate(batches) if i != index])
            value = batch.value(metric, others)
            if value is not None:
                values.append(value)
        if len(values) == len(batches):
            found[metric] = _level(values)
    return found


def joined_words(batches: Sequence[Batch]) -> dict[int, int]:
    """The word counts of all batches together."""
    total: dict[int, int] = {}
    for batch in batches:
        add_counts(total, batch.words)
    return total


def _level(values: Sequence[float]) -> Level:
    n = len(values)
    mean = sum(values) / n
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    # A deviation from few batches may be far too small by chance: widen it, and give it a floor.
    return Level(mean, max(deviation * (1 + 6 / n), 0.03 * abs(mean), 0.005))
