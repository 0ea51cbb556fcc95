"""What settings may say of slices, and what is wrong with what they say."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tidemill.settings.strict import choice
from tidemill.slices import ATTRIBUTE, DIMENSIONS, dimension_of

MAX_DIMENSIONS = 4
MAX_DIMENSION = 100
"""Characters of a dimension: the names of its slices are kept up to 256."""
RECENT_SCORES = 1_000
"""Kept of a pipeline's whole, to find falls of quality among."""
MAX_SCORES = 160_000
"""Kept of all slices with a name, likewise: 14 bytes each in the pipeline's state."""


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
    return min(RECENT_SCORES, MAX_SCORES // max(1, slices))


def recover_fault(scores: int, slices: int, min_drop: float) -> str | None:
    """What is wrong with waiting for so many scores until quality is back; None: nothing. ``slices``: most there are.

    Of more than are kept an alarm would never end, nor of so few that not even right ones are surely back.
    """
    most, least = scores_kept(slices), math.ceil(2 / min_drop)
    if scores < least:
        return f"{scores} are too few to be sure of {min_drop:g} (min_drop); set at least {least}, or a larger min_drop"
    if scores <= most:
        return None
    whose, also = ("each slice", ", or a lower max_slices") if most < RECENT_SCORES else ("a pipeline", "")
    return f"{scores} is more than the {most} scores that are kept of {whose}; set at most that{also}"


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
