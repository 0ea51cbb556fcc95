"""How new questions are: how far each is from the nearest of a reference's, by their words.

A question about something else shares few words with any question of before, though each of its words may be known;
so the mean rises where the share of unseen words does not.

Source: distance to the nearest neighbour as a score of novelty (Ramaswamy et al., SIGMOD 2000).
"""

from __future__ import annotations

import numpy as np
from msgspec import Struct, field

from streams.windows.figures import Figure
from streams.windows.tally import Tally
from tidemill.word_sets import distances

REFERENCE = 1_000
"""Questions in the reference: of 500 a question about something new stands out by a fifth less."""

BATCH = 25
"""Questions in a batch, at least: of fewer, 30 % about something new do not stand out."""


class Novelty(Struct, omit_defaults=True):
    """The reference of one pipeline's questions."""

    questions: list[str] = field(default_factory=list)
    """Word sets; REFERENCE of them when it is whole."""

    @property
    def whole(self) -> bool:
        """Whether the reference is."""
        return len(self.questions) >= REFERENCE

    def gather(self, tally: Tally) -> None:
        """Take the questions of one window into the reference, until it is whole."""
        for one, n in sorted(tally.word_sets.items()):
            self.questions += [one] * min(n, REFERENCE - len(self.questions))

    def figure(self, tally: Tally) -> Figure | None:
        """The metric of one window; None while the reference is gathered, and without questions."""
        if not self.whole or not tally.word_sets:
            return None
        each = distances(list(tally.word_sets), self.questions)
        counts = np.fromiter(tally.word_sets.values(), np.int64, len(each)).clip(0)
        n, total = int(counts.sum()), float(counts @ each)
        if not n:
            return None
        return Figure(n, total, float(counts @ (each * each)), total / n, each=(each, counts))
