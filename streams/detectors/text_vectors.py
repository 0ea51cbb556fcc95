"""What a text is like, as a vector for ``two_sample`` and as scalars for ``conformal``: no model, no word kept.

Words fall into buckets by hash. A bucket weighs the more, the fewer reference texts have it (inverse document
frequency); the weighted buckets are projected onto DIMENSIONS random signs, which keeps distances, and the vector is
brought to length one. Texts of the same topic come to lie close together.

Sources: Weinberger et al.: Feature hashing (0902.2206); Achlioptas: Database-friendly random projections (JCSS 2003).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.text import words

BUCKETS = 4096
DIMENSIONS = 256


class Features(NamedTuple):
    """One text."""

    vector: NDArray[np.float64]
    """Shape (DIMENSIONS,), of length one; zeros for a text without words."""
    chars: float
    unseen: float
    """Share of its different words that the reference never had, in [0, 1]."""
    word_length: float


class TextVectors:
    """Features of texts against the words of ``reference``; vectors of that reference itself would look too familiar:
    give ``TwoSample`` those of other texts from the same time."""

    def __init__(self, reference: Sequence[str], seed: int = 0) -> None:
        if not reference:
            raise ValueError("the reference has no texts; gather some before anything can be unlike them")
        having = np.zeros(BUCKETS)
        for text in reference:
            having[buckets_of(words(text))] += 1
        self._seen = having > 0
        weights = np.log((len(reference) + 1) / (having + 1))
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(BUCKETS, DIMENSIONS))
        self._projection = signs * weights[:, None] / np.sqrt(DIMENSIONS)

    def of(self, text: str) -> Features:
        """One text's features."""
        found = words(text)
        buckets = buckets_of(found)
        vector = self._projection[buckets].sum(axis=0)
        length = float(np.sqrt(vector @ vector))
        return Features(
            vector / length if length else vector,
            float(len(text)),
            float(1 - self._seen[buckets].mean()) if buckets else 0.0,
            sum(map(len, found)) / len(found) if found else 0.0,
        )


def buckets_of(parts: Sequence[str]) -> list[int]:
    """The hash buckets, below BUCKETS, of words or of several words together: each once, sorted."""
    return sorted({zlib.crc32(part.encode()) % BUCKETS for part in parts})
