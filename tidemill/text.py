"""Content-free features of text: taken before redaction, safe to keep when content is not captured."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

WORD_BUCKETS = 1024
"""Words are counted by hash bucket, so that no word can be read back."""
FEATURES = ("chars", "words", "digit_share", "mean_word_length")

_WORD = re.compile(r"[^\W_]+", re.UNICODE)


def words(text: str) -> list[str]:
    """The lower-cased words of any script, in order."""
    return _WORD.findall(text.lower())


def features(text: str) -> dict[str, float]:
    """Scalar features by name: see FEATURES. Lengths are in characters and words; shares are in [0, 1]."""
    found = _WORD.findall(text)
    return {
        "chars": float(len(text)),
        "words": float(len(found)),
        "digit_share": _digits(text) / len(text) if text else 0.0,
        "mean_word_length": sum(map(len, found)) / len(found) if found else 0.0,
    }


def _digits(text: str) -> int:
    return sum(map(text.count, "0123456789")) if text.isascii() else sum(map(str.isdigit, text))


def word_buckets(texts: Iterable[str]) -> dict[int, int]:
    """Counts of lower-cased words by hash bucket, sorted by bucket."""
    counts: dict[int, int] = {}
    for text in texts:
        for word in words(text):
            index = zlib.crc32(word.encode()) % WORD_BUCKETS
            counts[index] = counts.get(index, 0) + 1
    return dict(sorted(counts.items()))
