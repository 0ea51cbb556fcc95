"""How far the words of some calls are from those of a reference, by hash bucket (content-free)."""

from __future__ import annotations

import math
from collections.abc import Mapping


def unseen_share(words: Mapping[int, int], reference: Mapping[int, int]) -> float | None:
    """Share of words in buckets the reference never saw, in [0, 1]; None without words."""
    total = sum(words.values())
    if not total:
        return None
    return sum(count for bucket, count in words.items() if bucket not in reference) / total


def distance(words: Mapping[int, int], reference: Mapping[int, int]) -> float | None:
    """Jensen-Shannon distance in [0, 1] (root of the divergence to base 2); None where either side has no words.

    Small samples are further away than large ones even without any change: compare like with like.
    """
    total, reference_total = sum(words.values()), sum(reference.values())
    if not total or not reference_total:
        return None
    divergence = 0.0
    for bucket in sorted(words.keys() | reference.keys()):
        p = words.get(bucket, 0) / total
        q = reference.get(bucket, 0) / reference_total
        middle = (p + q) / 2
        if p:
            divergence += p * math.log2(p / middle) / 2
        if q:
            divergence += q * math.log2(q / middle) / 2
    return math.sqrt(min(1.0, max(0.0, divergence)))
