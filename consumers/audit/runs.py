"""Sets of offsets as runs of neighbours: a million missing rows in a row are one of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Run(NamedTuple):
    """Offsets lo..hi, both inclusive; ``time_ms`` is when the first arrived in Kafka, where that is known."""

    lo: int
    hi: int
    time_ms: int | None = None

    @property
    def size(self) -> int:
        """How many offsets it holds."""
        return self.hi - self.lo + 1


class Runs:
    """Collects offsets that come in ascending order."""

    def __init__(self) -> None:
        self.found: list[Run] = []

    def add(self, offset: int, time_ms: int | None = None) -> None:
        """One more offset, above all before."""
        if self.found and self.found[-1].hi == offset - 1:
            self.found[-1] = self.found[-1]._replace(hi=offset)
        else:
            self.found.append(Run(offset, offset, time_ms))


def size(runs: Iterable[Run]) -> int:
    """Offsets in all of them."""
    return sum(run.size for run in runs)


def without(runs: Sequence[Run], offsets: Iterable[int]) -> list[Run]:
    """The runs with these offsets taken out. ``runs`` are sorted and apart."""
    taken = sorted(set(offsets))
    left: list[Run] = []
    at = 0
    for run in runs:
        lo = run.lo
        while at < len(taken) and taken[at] < run.lo:
            at += 1
        while at < len(taken) and taken[at] <= run.hi:
            if taken[at] > lo:
                left.append(Run(lo, taken[at] - 1, run.time_ms))
            lo = taken[at] + 1
            at += 1
        if lo <= run.hi:
            left.append(Run(lo, run.hi, run.time_ms))
    return left


def readings(runs: Sequence[Run], within: int) -> list[list[Run]]:
    """The runs in groups whose neighbours are at most ``within`` offsets apart: each group is one reading."""
    groups: list[list[Run]] = []
    for run in runs:
        if groups and run.lo - groups[-1][-1].hi <= within:
            groups[-1].append(run)
        else:
            groups.append([run])
    return groups
