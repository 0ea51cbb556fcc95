"""How far the text of some calls is off, in deviations: their words against those of the first labelled calls.

Looked at in batches of a fixed number of calls: a distance between word counts depends on how many words there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from streams.detectors.baseline import BATCHES, Batch, Level, joined_words, levels
from streams.windows.tally import add_counts
from tidemill.metrics import WORD_METRICS

BATCH_CALLS = 25
Words = Mapping[int, int]
"""Counts of one text's words by hash bucket."""


class Usual:
    """The usual text, once BATCHES batches of it are there. Deterministic; one for each version."""

    def __init__(self) -> None:
        self._gathered: list[Batch] = []
        self._words: dict[int, int] = {}
        self._levels: dict[str, Level] = {}

    def batch(self, texts: Sequence[Words]) -> float | None:
        """How far a batch of BATCH_CALLS texts of labelled calls is off; None while it becomes part of the usual."""
        if self._levels:
            return self._off(texts)
        self._gathered.append(_batch(texts))
        if len(self._gathered) == BATCHES:
            self._levels, self._words = levels(self._gathered, WORD_METRICS), joined_words(self._gathered)
            self._gathered = []
        return None

    def off(self, texts: Sequence[Words]) -> list[float | None]:
        """How far the batch of each text is off, the last whole batch speaking for what is left; None: not known."""
        if not self._levels or len(texts) < BATCH_CALLS:
            return [None] * len(texts)
        whole = len(texts) // BATCH_CALLS
        found = [self._off(texts[at * BATCH_CALLS : (at + 1) * BATCH_CALLS]) for at in range(whole)]
        return [found[min(at // BATCH_CALLS, whole - 1)] for at in range(len(texts))]

    def _off(self, texts: Sequence[Words]) -> float | None:
        batch = _batch(texts)
        found = ((level, batch.value(metric, self._words)) for metric, level in self._levels.items())
        return max((level.z(value) for level, value in found if value is not None), default=None)


def _batch(texts: Sequence[Words]) -> Batch:
    words: dict[int, int] = {}
    for text in texts:
        add_counts(words, text)
    return Batch(calls=len(texts), words=words)
