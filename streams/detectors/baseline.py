"""What a metric was like at first: the reference that changes are measured against.

The reference is gathered in batches of calls. How much a metric varies from batch to batch (for words, each batch
against the others) says later what is unusual. Batches hold about the same number of observations, whatever the
traffic; what they differ by is reckoned with, so that a mean of more observations does not look calmer.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from msgspec import Struct, field

from streams.detectors.words import distance, unseen_share
from streams.windows.tally import Tally, add_counts
from tidemill.metrics import UNSEEN_SHARE, WORD_DISTANCE

BATCHES = 8
"""The reference is this many batches."""
WIDE = 1 + 6 / BATCHES
MOST_BATCHES = 2
"""A window with more than so many batches' worth makes them grow."""


def size_for(size: int, n: int) -> int:
    """What makes a batch after a window of ``n`` observations: ``size``, or so much that windows like this one fill a
    batch each, those of three quarters of it too, and half as much traffic again is no reason to grow again.
    """
    return size if n <= MOST_BATCHES * size else math.ceil(0.75 * n)


class Measured(NamedTuple):
    """A metric over one batch that began at ``start_ms``: ``n`` observations (calls, answers, words)."""

    n: int
    value: float
    start_ms: int = 0


class Batch(Struct, omit_defaults=True):
    """The words of some calls in a row."""

    start_ms: int = 0
    calls: int = 0
    words: dict[int, int] = field(default_factory=dict)

    def add(self, tally: Tally, start_ms: int) -> None:
        """Take in the sampled calls of one window."""
        self.start_ms = self.start_ms or start_ms
        self.calls += tally.sampled
        add_counts(self.words, tally.words)

    def value(self, metric: str, reference: dict[int, int]) -> float | None:
        """A word metric over this batch, against ``reference``."""
        return word_metric(metric, self.words, reference)


class Level(Struct, frozen=True, array_like=True):
    """A metric's usual value per batch, and its standard deviation (never zero)."""

    mean: float
    deviation: float
    usual: float = 0.0
    """Observations in a batch of the reference."""

    def z(self, value: float) -> float:
        """How many deviations ``value`` is off."""
        return (value - self.mean) / self.deviation

    def off(self, metric: str, found: Measured) -> float:
        """The same for a batch, as if it had as many observations as usual: the mean of n varies like 1 / sqrt(n)."""
        if not self.usual:
            return self.z(found.value)
        if metric == WORD_DISTANCE:
            return self.z(self.distance_as_usual(found))
        return self.z(found.value) * math.sqrt(found.n / self.usual)

    def distance_as_usual(self, found: Measured) -> float:
        """A distance as if its batch had as many words as usual: from a reference of BATCHES times the usual it grows
        like sqrt(1 / n + 1 / reference) as n falls.
        """
        return found.value * math.sqrt((1 + BATCHES) * found.n / (found.n + BATCHES * self.usual))


def word_metric(metric: str, words: dict[int, int], reference: dict[int, int]) -> float | None:
    """``input_unseen_share`` or ``input_word_distance``."""
    return unseen_share(words, reference) if metric == UNSEEN_SHARE else distance(words, reference)


def against_each_other(batches: Sequence[Batch], metrics: Sequence[str]) -> dict[str, list[Measured]]:
    """Each word metric that has a value in all batches; each batch against the words of the others."""
    found: dict[str, list[Measured]] = {}
    for metric in metrics:
        values = []
        for index, batch in enumerate(batches):
            others = joined_words([other for i, other in enumerate(batches) if i != index])
            value = batch.value(metric, others)
            if value is not None:
                values.append(Measured(sum(batch.words.values()), value, batch.start_ms))
        if len(values) == len(batches):
            found[metric] = values
    return found


def levels(batches: Sequence[Batch], metrics: Sequence[str]) -> dict[str, Level]:
    """The usual level of each word metric that has a value in all batches, its deviation widened: what is off is shown
    as it is, and a deviation from few batches may be far too small by chance.
    """
    return {metric: level_of(found, wide=WIDE) for metric, found in against_each_other(batches, metrics).items()}


def joined_words(batches: Sequence[Batch]) -> dict[int, int]:
    """The word counts of all batches together."""
    total: dict[int, int] = {}
    for batch in batches:
        add_counts(total, batch.words)
    return total


def level_of(found: Sequence[Measured], least: float = 0.005, wide: float = 1.0) -> Level:
    """The level that some batches show; ``least``: of deviations, below which nobody would call it a change.

    ``wide``: by how many times the deviation is widened. A detector needs none: chance is the budget's matter.
    """
    n = len(found)
    mean = sum(one.value for one in found) / n
    deviation = math.sqrt(sum((one.value - mean) ** 2 for one in found) / (n - 1))
    return Level(mean, max(wide * deviation, 0.03 * abs(mean), least), sum(one.n for one in found) / n)
