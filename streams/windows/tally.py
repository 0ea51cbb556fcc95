"""What one series did in one window: cells merged by adding, and how much room that takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeVar, cast

from msgspec import Struct, field

from tidemill.events import Cell
from tidemill.events.types import MAX_MICROS, Variant
from tidemill.word_sets import lowest

Role = Literal["client", "shadow"]
CLIENT: Role = "client"
OTHER = "other"
"""The version of all answers whose own version came after the window had as many series as it takes."""
K = TypeVar("K", int, str)
_PIPELINE_WIDE_VARIANT: Variant = "champion"

ENTRY_BYTES = 10
"""At most what a bucket and its count take in MessagePack: two numbers of 32 bits."""
NAMED_BYTES = 64
"""At most what a metric's name takes with three numbers of 64 bits, or with the head of its histogram."""
WORD_SET_NAMES = 3
"""So many names take the room of a word set, which may have 128 characters."""
TALLY_BYTES = 512
"""What a tally itself counts: more than its encoding takes (130), since each is some objects in memory."""

_ONE: dict[Any, Any] = {key: key for key in range(-1_500, 1_500)}
"""One number object for all windows that have the bucket: most of the memory of a histogram would be its keys."""


class Sums(Struct, array_like=True):
    """Count, sum and sum of squares."""

    n: int = 0
    total: float = 0.0
    total_sq: float = 0.0

    @property
    def mean(self) -> float | None:
        """None when nothing was counted."""
        return self.total / self.n if self.n else None


class Tally(Struct, array_like=True):
    """The merged figures; merging is associative and commutative (floats to rounding). Saved as an array: new fields
    go last.

    Costs stay at MAX_MICROS once they are there: of all counts they alone could outgrow what an encoded state takes.
    """

    requests: int = 0
    answers: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    priced: int = 0
    moments: dict[str, Sums] = field(default_factory=dict)
    histograms: dict[str, dict[int, int]] = field(default_factory=dict)
    words: dict[int, int] = field(default_factory=dict)
    sampled: int = 0
    sampled_answers: int = 0
    languages: dict[str, int] = field(default_factory=dict)
    word_sets: dict[str, int] = field(default_factory=dict)

    def add(self, other: Cell | Tally) -> int:
        """Merge a cell, or another tally, into this one; the bytes by which its encoding may have grown, at most."""
        self.requests += other.requests
        self.answers += other.answers
        self.input_tokens += other.input_tokens
        self.cached_tokens += other.cached_tokens
        self.output_tokens += other.output_tokens
        self.cost_micros = min(self.cost_micros + other.cost_micros, MAX_MICROS)
        self.priced += other.priced
        self.sampled += other.sampled
        self.sampled_answers += other.sampled_answers
        named = add_counts(self.outcomes, other.outcomes) if other.outcomes else 0
        named += add_counts(self.languages, other.languages) if other.languages else 0
        if other.word_sets:
            named += WORD_SET_NAMES * add_counts(self.word_sets, other.word_sets)
            self.word_sets = lowest(self.word_sets)
        entries = add_counts(self.words, other.words) if other.words else 0
        known = self.moments
        for name, more in other.moments.items():
            sums = known.get(name)
            if sums is None:
                known[name] = Sums(more.n, more.total, more.total_sq)
                named += 1
            else:
                sums.n += more.n
                sums.total += more.total
                sums.total_sq += more.total_sq
        for name, counts in other.histograms.items():
            histogram = self.histograms.get(name)
            if histogram is None:
                histogram = self.histograms[name] = {}
                named += 1
            entries += add_counts(histogram, counts)
        return entries * ENTRY_BYTES + named * NAMED_BYTES

    @property
    def events(self) -> int:
        """Requests and answers in it: what is lost when it comes too late."""
        return self.requests + self.answers


def add_counts(into: dict[K, int], more: Mapping[K, int]) -> int:
    """Add ``more`` to ``into`` key by key; gives back how many keys were new."""
    before = len(into)
    for key, count in more.items():
        known = into.get(key)
        if known is None:
            into[_ONE.get(key, key)] = count
        else:
            into[key] = known + count
    return len(into) - before


class Series(Struct, frozen=True):
    """Whose figures they are. The pipeline as a whole has no version."""

    model_version: str = ""
    variant: Variant = _PIPELINE_WIDE_VARIANT
    role: Role = CLIENT

    @property
    def key(self) -> str:
        """One string for it; ``of_key`` reads it back. The version comes last, so that it may hold blanks."""
        return f"{self.role} {self.variant} {self.model_version}"

    @staticmethod
    def key_of(cell: Cell) -> str:
        """The key of the cell's own series (as ``of_cell(cell).key``, without making one)."""
        return f"{cell.role} {cell.variant} {cell.model_version}"

    @staticmethod
    def of_key(key: str) -> Series:
        role, variant, version = key.split(" ", 2)
        return Series(version, cast(Variant, variant), cast(Role, role))

    @staticmethod
    def of_cell(cell: Cell) -> Series:
        return Series(cell.model_version, cell.variant, cell.role)


def merged(tallies: Iterable[Tally]) -> Tally:
    """A new tally of all of them together."""
    total = Tally()
    for tally in tallies:
        total.add(tally)
    return total
