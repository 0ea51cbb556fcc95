"""Whether rows can be taught: one odd row is left out, a data set of them is refused in words."""

from __future__ import annotations

from retrain.model.examples import Encoded
from tidemill.errors import TidemillError


class Untrainable(TidemillError):
    """Nothing can be trained from what was given; the message says why, and what would help. Not tried again."""


class TooFewRows(Untrainable):
    """Too few rows can be taught; the message says how many, why, and what would help."""


def checked(encoded: Encoded, least: int, max_length: int) -> Encoded:
    """The same, where at least ``least`` examples are left. Raises TooFewRows."""
    if len(encoded.examples) < least:
        raise TooFewRows(
            f"{len(encoded.examples)} rows can be taught, at least {least} are needed: {encoded.too_long} answers are "
            f"too long for {max_length} tokens and {encoded.empty} are empty; give shorter labels, or more of them"
        )
    return encoded
