"""The words of a text as a set of hash buckets, in a short string: content-free, and comparable with others.

A bucket is two characters (base 32). Of more than MOST buckets the lowest are kept: of two like texts they are the
same ones, since a bucket is a hash of its word.

Source: bottom-k sketches (Cohen and Kaplan 2007), cut at a k that few questions reach.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tidemill.text import WORD_BUCKETS

MOST = 64
"""Buckets of a set."""
MAX_SETS = 64
"""Sets that are told apart in a cell, and in a window."""
_DIGITS = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [first + second for first in _DIGITS for second in _DIGITS]
_VALUES = np.zeros(128, np.int64)
_VALUES[[ord(digit) for digit in _DIGITS]] = range(32)

Buckets = NDArray[np.int64]


def word_set(buckets: Iterable[int]) -> str:
    """The set of some buckets (0 to 1,023), each once; "" without any."""
    return "".join(_PAIRS[bucket] for bucket in sorted(set(buckets))[:MOST])


def lowest(counts: dict[str, int]) -> dict[str, int]:
    """The MAX_SETS of some counted sets with the lowest hashes: of a whole the same ones as of its parts' together."""
    if len(counts) <= MAX_SETS:
        return counts
    return {one: counts[one] for one in sorted(counts, key=lambda one: (zlib.crc32(one.encode()), one))[:MAX_SETS]}


def buckets_of(sets: Sequence[str]) -> tuple[Buckets, Buckets]:
    """The buckets of some sets, one after the other, shape (n,), and where each set begins, shape (sets,). Characters
    that are none of ours count as 0; an odd one at the end of a set is left out.
    """
    even = [one[: len(one) // 2 * 2] for one in sets]
    digits = _VALUES[np.frombuffer("".join(even).encode("ascii", "replace"), np.uint8) & 127]
    starts = np.cumsum([0, *(len(one) // 2 for one in even)])[:-1]
    return 32 * digits[::2] + digits[1::2], starts


def distances(sets: Sequence[str], reference: Sequence[str]) -> NDArray[np.float64]:
    """From each set to the nearest of the reference, in [0, 1], shape (sets,). None of the sets is empty."""
    nearest = distance_to(reference)
    return np.array([nearest(one) for one in sets])


def distance_to(reference: Sequence[str]) -> Callable[[str], float]:
    """The distance of a set to the nearest of the reference, in [0, 1]. Neither it nor one of the reference is empty.

    Distance is 1 - cosine; a word weighs the more the fewer sets of the reference have it (inverse document frequency,
    Sparck Jones 1972).
    """
    buckets, starts = buckets_of(reference)
    have = np.bincount(buckets, minlength=WORD_BUCKETS)
    weights = np.log((len(reference) + 1) / (have + 1)) + 1e-9
    lengths = np.sqrt(np.add.reduceat(weights[buckets], starts))

    def distance(one: str) -> float:
        own, _ = buckets_of([one])
        in_both = np.zeros(WORD_BUCKETS)
        in_both[own] = weights[own]
        overlap = np.add.reduceat(in_both[buckets], starts)
        return float(np.clip(1 - (overlap / lengths).max() / np.sqrt(weights[own].sum()), 0.0, 1.0))

    return distance


assert len(_PAIRS) == WORD_BUCKETS
