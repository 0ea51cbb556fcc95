"""Which calls' text is looked at: a bounded sample, chosen by the call id alone."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def chosen(groups: NDArray[np.int64], calls: Sequence[str], most: NDArray[np.int64], in_all: int) -> NDArray[np.bool_]:
    """Which candidates are in the sample: of each group, the calls with the lowest hashes.

    ``groups``: group number by candidate, shape (n,); ``calls``: their call ids; ``most``: calls by group number;
    ``in_all``: calls of all groups together: each group gets its first ones before any gets more.
    Depends on the candidates as a set, not on their order: a replayed range samples the same calls. Calls of one
    hash are taken or left together.
    """
    hashes = np.fromiter(map(zlib.crc32, map(str.encode, calls)), np.int64, len(calls))
    ranked = groups << 32 | hashes
    ordered = np.sort(ranked)
    distinct = ordered[np.diff(ordered, prepend=-1) > 0]
    group = distinct >> 32
    rank = np.arange(len(distinct)) - np.searchsorted(group, group)
    kept = np.flatnonzero(rank < most[group])
    kept = kept[np.argsort(rank[kept], kind="stable")][:in_all]
    last = np.full(len(most), -1)
    np.maximum.at(last, group[kept], distinct[kept])
    return ranked <= last[groups]
