"""The slices of windows that are computed anew: told by the names that the windows' rows have already."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streams.windows.slices import Slicing
from streams.windows.tally import Tally
from tidemill.events import SliceCell, Window
from tidemill.slices import OTHER, dimension_of


class Sliced(NamedTuple):
    """What the slices of a window say."""

    tallies: Mapping[str, Tally] = {}
    dimensions: frozenset[str] = frozenset()
    """Those that were computed: rows of others stay as they are."""


class Slices:
    """The slices of one pipeline's windows under construction."""

    def __init__(self, slicing: Slicing, known: Iterable[Window]) -> None:
        self._slicing = slicing
        self._tallies: dict[int, dict[str, Tally]] = {}
        self._named: dict[tuple[int, str], set[str]] = {}
        for row in known:
            if row.slice:
                self._named.setdefault((row.start_ms, dimension_of(row.slice)), set()).add(row.slice)

    def of(self, start: int) -> Sliced:
        """Those of the window of this start."""
        return Sliced(self._tallies.get(start, {}), frozenset(self._slicing.held))

    def add(self, cell: SliceCell, start: int) -> None:
        """Merge a cell into a slice of the window of this start."""
        dimension = dimension_of(cell.slice)
        tallies = self._tallies.setdefault(start, {})
        name = cell.slice if self._has_name(cell.slice, dimension, start, tallies) else f"{dimension}={OTHER}"
        tallies.setdefault(name, Tally()).add(cell)

    def _has_name(self, name: str, dimension: str, start: int, tallies: Mapping[str, Tally]) -> bool:
        """Whether it is told by its own name: as the rows have it; where there are none, as a new stream would."""
        if name in tallies:
            return True
        known = self._named.get((start, dimension))
        if known is not None:
            return name in known or f"{dimension}={OTHER}" not in known
        held = {f"{dimension}={value}" for value in self._slicing.held[dimension]}
        taken = held.union(each for each in tallies if dimension_of(each) == dimension) - {f"{dimension}={OTHER}"}
        return name in held or len(taken) < self._slicing.most
