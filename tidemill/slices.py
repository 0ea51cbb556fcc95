"""Slices of a pipeline's traffic: the dimensions that part it, and the names of their parts. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from tidemill.events.types import MAX_NAME

DIMENSIONS = ("tenant", "prompt_version", "input_language")
"""Dimensions that are fields of calls and answers."""
ATTRIBUTE = "attributes."
"""Before the name of an attribute that is a dimension."""
OTHER = "other"
"""The value of all calls whose own value has no figures of its own."""


def slice_name(dimension: str, value: str) -> str:
    """The name of a slice, no longer than is kept."""
    return f"{dimension}={value}"[:MAX_NAME]


def dimension_of(slice: str) -> str:
    """The dimension of a slice ``<dimension>=<value>``."""
    return slice.partition("=")[0]


def by_dimension(dimensions: Collection[str], attributes: Mapping[str, str], **fields: str) -> dict[str, str]:
    """The values of a call by dimension, "" where it has none. ``fields``: those of DIMENSIONS."""
    fields |= {f"{ATTRIBUTE}{name}": value for name, value in attributes.items()}
    return {dimension: fields.get(dimension, "") for dimension in dimensions}


def values_of(slices: Collection[str], dimension: str) -> frozenset[str]:
    """The values of one dimension among slices."""
    return frozenset(each.partition("=")[2] for each in slices if dimension_of(each) == dimension)
