"""What travels between a range consumer and its caller: ranges, positions, and the note in the commit metadata."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from tidemill.events.types import Count, Offset

if TYPE_CHECKING:
    from confluent_kafka import Message


EPOCH_OFFSETS = 1 << 48
"""Room for the offsets of one epoch."""


class Intent(msgspec.Struct, frozen=True, omit_defaults=True):
    """The note kept with a committed offset (Kafka allows 4,095 characters)."""

    h: Offset | None = None
    """Last offset of the range that begins at the committed one; None: nothing is under way."""
    t: str = ""
    """Kafka's id of the topic: another one means the topic was made anew and the offset says nothing."""
    e: Count = 0
    """Epoch: part of the token; raised where the log lost its tail, so that offsets come a second time."""
    n: Count = 0
    """Epoch of the ranges after this one, where that is another."""
    le: int = -1
    """Leader epoch of the last message up to h, or below the committed offset; -1: not known. Messages that come there
    under a later one are others: the log lost its tail."""
    u: Offset = 0
    """Ranges that begin below may have had their effect before, under another token."""

    def encode(self) -> str:
        """The note as compact JSON."""
        return msgspec.json.encode(self).decode()

    @staticmethod
    def decode(metadata: str | None) -> Intent | None:
        """The note, or None where the metadata is empty or not ours (a tool moved the offset)."""
        if not metadata:
            return None
        try:
            return msgspec.json.decode(metadata, type=Intent)
        except msgspec.MsgspecError:
            return None


@dataclass(frozen=True, eq=False)
class Range:
    """A frozen range lo..hi of one partition, both inclusive, with every message in it.

    Offsets may have holes (compaction, transactions), so there may be fewer messages than hi - lo + 1, even none.
    """

    cluster: str
    topic: str
    topic_id: str
    epoch: int
    partition: int
    lo: int
    hi: int
    messages: Sequence[Message]
    replayed: bool
    """Frozen by an earlier owner: its effect may have happened, wholly or in part."""
    again: bool = False
    """Its messages may have had their effect before, in ranges with other tokens: what was committed is not known."""

    @property
    def token(self) -> str:
        """Names the range for ever: the same range has the same token after any restart."""
        return f"{self.cluster}:{self.topic_id}:{self.epoch}:{self.partition}:{self.lo}-{self.hi}"

    @property
    def first(self) -> int:
        """To be added to offsets where those of a later epoch shall be above all earlier ones."""
        return self.epoch * EPOCH_OFFSETS


class Position(NamedTuple):
    """How far one assigned partition is."""

    topic: str
    partition: int
    position: int
    """Next offset whose effect is outstanding; everything below is done."""
    end: int
    """The partition's end offset as the broker last said it: all that came before it asked is below."""
    asked_s: float
    """How long ago the broker was asked for the end, seconds."""
