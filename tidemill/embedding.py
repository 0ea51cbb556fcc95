"""What an embedding is like, in four numbers: enough to see that questions have moved, too few to read one back.

An embedding of length one is projected onto fixed random signs. Where embeddings keep coming from where they came from,
so do the projections; where they move, one of four projections moves too, nearly always, by about as many of its
deviations as the embeddings by theirs.

Source: Achlioptas: Database-friendly random projections (JCSS 2003).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import compress
from math import fsum, hypot, isfinite

PROJECTIONS = 4
EMBEDDING_FEATURES = tuple(f"embedding_{number}" for number in range(1, PROJECTIONS + 1))


def embedding_features(embedding: Sequence[float]) -> dict[str, float]:
    """EMBEDDING_FEATURES by name; of embeddings that point anywhere, each has a mean of 0 and a deviation of 1.

    ``embedding``: any length, any scale; a model's own, the same model for all calls. Raises ValueError where it is
    empty, all zero or not finite.
    """
    length = hypot(*embedding)
    if not (isfinite(length) and length > 0):
        raise ValueError(f"an embedding needs numbers that are finite and not all zero; it has {len(embedding)}")
    unit = [x / length for x in embedding]
    total = fsum(unit)
    return {
        name: 2 * fsum(compress(unit, signs)) - total
        for name, signs in zip(EMBEDDING_FEATURES, _signs(len(unit)), strict=True)
    }


@lru_cache(maxsize=8)
def _signs(dimensions: int) -> tuple[tuple[bool, ...], ...]:
    """Whether each dimension counts positively, by projection; the same everywhere and for ever."""
    drawn = (hashlib.shake_256(name.encode()).digest(-(-dimensions // 8)) for name in EMBEDDING_FEATURES)
    return tuple(tuple(bool(drew[at // 8] >> at % 8 & 1) for at in range(dimensions)) for drew in drawn)
