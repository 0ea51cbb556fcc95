"""Which values of a dimension have figures of their own: first come, first named; chosen by name and traffic alone.

A value keeps its name while it has traffic. Where a dimension is full, a new value takes the place of the one that has
been without traffic longest, once that is IDLE_MS; until then it is counted as OTHER. Within one window a value is
counted under its name or as OTHER, never both. Pure: the log decides.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec import Struct, field

from tidemill.settings import PipelineSettings
from tidemill.slices import OTHER, dimension_of, values_of

IDLE_MS = 86_400_000
"""Event time without traffic after which a value gives its name back where another needs it."""


class Slicing(NamedTuple):
    """What of a pipeline's settings decides on names."""

    most: int = 0
    """Values with a name, of each dimension."""
    held: dict[str, frozenset[str]] = {}
    """By dimension, the values that have theirs whatever comes first."""


NO_SLICES = Slicing()


def slicing_of(settings: PipelineSettings) -> Slicing:
    """The slices that a pipeline's settings ask for."""
    named = settings.named_slices
    return Slicing(settings.max_slices, {dimension: values_of(named, dimension) for dimension in settings.slices})


class Named(Struct, array_like=True):
    """A value with figures of its own."""

    since_ms: int
    """Start of the first window in which it has them."""
    seen_ms: int
    """Start of the newest window with traffic of it."""


class Dimension(Struct, array_like=True):
    """The values that a dimension's figures are told by."""

    values: dict[str, Named] = field(default_factory=dict)
    newest_ms: int = 0
    """Start of the newest window with traffic."""
    full: bool = False
    """Something has been counted as OTHER: a new name holds for windows to come only."""

    @staticmethod
    def of(held: frozenset[str]) -> Dimension:
        """A new one, in which the values that are ``held`` have their names."""
        return Dimension({value: Named(0, 0) for value in sorted(held)})

    def name(self, value: str, start_ms: int, size_ms: int, most: int, held: frozenset[str]) -> str:
        """Under which value traffic of ``value`` counts in the window of this start."""
        self.newest_ms = max(self.newest_ms, start_ms)
        known = self.values.get(value)
        if known is None and value != OTHER:
            known = self._admit(value, start_ms, size_ms, most, held)
        if known is None or start_ms < known.since_ms:
            self.full = True
            return OTHER
        known.seen_ms = max(known.seen_ms, start_ms)
        return value

    def named(self, value: str, start_ms: int) -> str:
        """The same without taking anything in."""
        known = self.values.get(value)
        return OTHER if known is None or start_ms < known.since_ms else value

    def _admit(self, value: str, start_ms: int, size_ms: int, most: int, held: frozenset[str]) -> Named | None:
        waiting = len(held - self.values.keys() - {value})
        while len(self.values) + waiting >= most:
            if not self._release(held, self.newest_ms + 1 if value in held else self.newest_ms - IDLE_MS):
                return None
        found = self.values[value] = Named(self.newest_ms + size_ms if self.full else 0, start_ms)
        return found

    def _release(self, held: frozenset[str], before_ms: int) -> bool:
        """Take its name from the value without traffic longest, if that is since before then; whether one was."""
        idle = [(known.seen_ms, value) for value, known in self.values.items() if value not in held]
        if not idle or min(idle)[0] >= before_ms:
            return False
        del self.values[min(idle)[1]]
        self.full = True
        return True


def named(dimensions: dict[str, Dimension], slice: str, start_ms: int) -> str:
    """Under which slice the traffic of one counts in the window of this start, as far as is known now."""
    dimension = dimension_of(slice)
    known = dimensions.get(dimension, Dimension())
    return f"{dimension}={known.named(slice.partition('=')[2], start_ms)}"


def has_name(dimensions: dict[str, Dimension], slicing: Slicing, slice: str, at_ms: int) -> bool:
    """Whether the traffic of a slice at this time counts under its own name, as far as is known now."""
    dimension, _, value = slice.partition("=")
    known = dimensions.get(dimension, Dimension()).values.get(value) if dimension in slicing.held else None
    return known is not None and known.since_ms <= at_ms


def names_of(dimensions: dict[str, Dimension], slicing: Slicing) -> frozenset[str]:
    """The slices that have a name now, of the dimensions that are asked for."""
    asked = ((name, dimension) for name, dimension in dimensions.items() if name in slicing.held)
    return frozenset(f"{name}={value}" for name, dimension in asked for value in dimension.values)
