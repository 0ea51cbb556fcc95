"""What to do about an insert that may or may not have happened, given what its table holds. Pure.

A store killed between writing down a token and the rows' own rename knows the token and lacks the rows, so that sending
the same again brings nothing back. Rows are therefore counted, and what is missing goes in under a token made of the
first one and the round's number: the same after any restart, so that copies that are still under way cannot double.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

ROUNDS = 6
"""How often rows are sent again before somebody is called."""


@dataclass(frozen=True)
class Present:
    """What a table holds within the bounds of a block: its source partition, offsets and times."""

    rows: int
    offsets: Collection[int]
    """The different offsets among them."""


@dataclass(frozen=True)
class Whole:
    """Every row is there once."""


@dataclass(frozen=True)
class Missing:
    """Rows of the block (by their place in it) to insert under ``token``."""

    rows: Sequence[int]
    token: str


@dataclass(frozen=True)
class Alarm:
    """Nothing that could be done here is right: somebody must look."""

    reason: str


def decide(
    token: str, offsets: Sequence[int], present: Present, round_: int, expired: Collection[int] = ()
) -> Whole | Missing | Alarm:
    """The next step for a block with rows from ``offsets``, after ``round_`` rounds of sending what was missing.

    ``expired``: offsets of rows that the table's TTL has taken, or would take at once. Sets are compared and not
    numbers of rows: a compacted topic may hold fewer rows by now than the table does.
    """
    if present.rows > len(present.offsets):
        doubled = present.rows - len(present.offsets)
        return Alarm(f"{doubled} rows too many of the {len(present.offsets)} offsets of {token}")
    missing = [n for n, offset in enumerate(offsets) if offset not in present.offsets and offset not in expired]
    if not missing:
        return Whole()
    if round_ >= ROUNDS:
        return Alarm(f"{len(missing)} rows of {token} are missing after {ROUNDS} rounds")
    return Missing(missing, token if round_ == 0 else f"{token}#h{round_}")
