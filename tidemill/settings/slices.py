"""Slices of a pipeline's traffic: the dimensions that part it, and the names of their parts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tidemill.settings.strict import choice

DIMENSIONS = ("tenant", "prompt_version", "input_language")
"""Dimensions that are fields of calls and answers."""
ATTRIBUTE = "attributes."
"""Before the name of an attribute that is a dimension."""
MAX_DIMENSIONS = 4
MAX_DIMENSION = 100
"""Characters of a dimension: the names of its slices are kept up to 256."""
MAX_SCORES = 160_000
"""Kept of all slices with a name, to find falls of quality among: 14 bytes each in the pipeline's state."""
OTHER = "other"
"""The value of all calls whose own value has no figures of its own."""


def dimension_of(slice: str) -> str:
    """The dimension of a slice ``<dimension>=<value>``."""
    return slice.partition("=")[0]


def dimension_fault(dimension: str) -> str | None:
    """What is wrong with a dimension's name; None: nothing."""
    attribute = dimension.removeprefix(ATTRIBUTE)
    if len(dimension) > MAX_DIMENSION:
        return f"{dimension!r} has {len(dimension)} characters; at most {MAX_DIMENSION}, so that values find room"
    if dimension in DIMENSIONS or (attribute != dimension and attribute and "=" not in attribute):
        return None
    known = (*DIMENSIONS, f"{ATTRIBUTE}<name>")
    return f"{dimension!r} parts no traffic; {choice(dimension, known)}"


def scores_kept(slices: int) -> int:
    """Scores that are kept of each of so many slices: as many as of the whole, but MAX_SCORES of all together."""
    return min(1_000, MAX_SCORES // max(1, slices))


def by_dimension(dimensions: Collection[str], attributes: Mapping[str, str], **fields: str) -> dict[str, str]:
    """The values of a call by dimension, "" where it has none. ``fields``: those of DIMENSIONS."""
    fields |= {f"{ATTRIBUTE}{name}": value for name, value in attributes.items()}
    return {dimension: fields.get(dimension, "") for dimension in dimensions}


def slice_fault(slice: str, dimensions: Sequence[str]) -> str | None:
    """What is wrong with the name of a slice of these dimensions; None: nothing."""
    if "=" not in slice:
        return f"{slice!r} names no slice; write <dimension>=<value>, such as tenant=acme"
    return each_fault(dimension_of(slice), dimensions)


def each_fault(dimension: str, dimensions: Sequence[str]) -> str | None:
    """What is wrong with a dimension that must be one of these; None: nothing."""
    if dimension in dimensions:
        return None
    return f"{dimension!r} is not in the pipeline's slices; add it there, or {choice(dimension, dimensions)}"


def values_of(slices: Collection[str], dimension: str) -> frozenset[str]:
    """The values of one dimension among slices."""
    return frozenset(each.partition("=")[2] for each in slices if dimension_of(each) == dimension)
