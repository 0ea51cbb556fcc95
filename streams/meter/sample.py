"""Which calls' text is looked at: a bounded sample, chosen by the call id alone."""

from __future__ import annotations

import heapq
import zlib
from collections.abc import Iterable


def chosen(candidates: Iterable[tuple[int, str]], per_second: int) -> set[str]:
    """Of the candidates (second, call id), for each second the ``per_second`` call ids with the lowest hashes.

    Depends on the candidates as a set, not on their order: a replayed range samples the same calls.
    """
    by_second: dict[int, set[str]] = {}
    for second, call_id in candidates:
        by_second.setdefault(second, set()).add(call_id)
    kept: set[str] = set()
    for calls in by_second.values():
        kept |= calls if len(calls) <= per_second else set(heapq.nsmallest(per_second, calls, key=_rank))
    return kept


def _rank(call_id: str) -> tuple[int, str]:
    return zlib.crc32(call_id.encode()), call_id
