"""Prompts that say nearly the same: MinHash finds who may be near, the shingles themselves decide.

Two prompts are near when at least ``threshold`` of their shingles (runs of five characters of the words, without
punctuation and capitals) are common to both: Jaccard's index. Broder 1997; for training data Lee et al. 2022.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasketch import MinHash

_RUN = 5
_WORD = re.compile(r"\w+")
_HASHES = 128
_MISSES_WEIGH = (0.1, 0.9)
"""Of wrong candidates and of missed ones, in the choice of bands: the wrong ones are sorted out afterwards."""
_SUREST = 0.95
"""A threshold beyond it has no bands."""


class Near:
    """A set of prompts with their answers, asked for near ones. The same content gives the same answers.

    Imports datasketch and scipy: a second, in the snapshot's process alone.
    """

    def __init__(self, threshold: float) -> None:
        from datasketch import MinHashLSH

        self._threshold = threshold
        self._index = MinHashLSH(min(threshold, _SUREST), num_perm=_HASHES, weights=_MISSES_WEIGH)
        self._told: list[tuple[frozenset[str], str]] = []

    def add(self, prompt: str, answer: str) -> None:
        """Remember one more; the same one twice does no harm."""
        runs, hashed = _hashed(prompt)
        self._index.insert(len(self._told), hashed)
        self._told.append((runs, _plain(answer)))

    def has(self, prompt: str, answer: str) -> bool:
        """Whether a near prompt with the same answer is there. One with another answer tells something new."""
        (runs, hashed), wanted = _hashed(prompt), _plain(answer)
        return any(
            said == wanted and likeness(runs, known) >= self._threshold
            for known, said in (self._told[place] for place in self._index.query(hashed))
        )


def shingles(text: str) -> frozenset[str]:
    """Runs of five characters; of a shorter text itself."""
    words = " ".join(_WORD.findall(text.lower()))
    return frozenset(words[start : start + _RUN] for start in range(max(1, len(words) - _RUN + 1)))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """Jaccard's index: common shingles by all, in [0, 1]."""
    return len(one & other) / len(one | other)


@lru_cache(maxsize=1)  # a prompt is looked for in what is judged, then in what is chosen, and then added
def _hashed(prompt: str) -> tuple[frozenset[str], MinHash]:
    """Its shingles, and their MinHash."""
    runs, made = shingles(prompt), _nothing().copy()
    made.update_batch([run.encode() for run in sorted(runs)])
    return runs, made


@cache
def _nothing() -> MinHash:
    """Of no shingles: its permutations are drawn once."""
    from datasketch import MinHash

    return MinHash(num_perm=_HASHES, seed=1)


def _plain(answer: str) -> str:
    return " ".join(answer.split())
