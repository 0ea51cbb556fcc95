"""A frozen range becomes Arrow blocks, one per table partition, and refused messages. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa
from confluent_kafka import Message

from consumers.deadletters import Rejected
from consumers.sink.columns import ARROW, REFUSALS
from consumers.sink.landing import SOURCE_TYPES, Landing
from tidemill.codec import Decoder
from tidemill.errors import Quarantine
from tidemill.io.ranges import Range

_DAY_MS = 86_400_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Block:
    """Rows of one table partition under one token, and the message behind each row."""

    table: str
    token: str
    rows: pa.Table
    messages: Sequence[Message]
    time: str
    """The column, in epoch milliseconds, that chooses the table partition."""


def prepare(span: Range, landing: Landing, decoder: Decoder[Any]) -> tuple[list[Block], list[Rejected]]:
    """Blocks in order of their table partition, and the messages that fit no row."""
    events: list[Any] = []
    messages: list[Message] = []
    rejected: list[Rejected] = []
    for message in span.messages:
        try:
            events.append(decoder(message.value()))
            messages.append(message)
        except Quarantine as refusal:
            rejected.append(Rejected(message, refusal.reason, "decode"))
    by_month: dict[str, list[int]] = {}
    for number, event in enumerate(events):
        by_month.setdefault(_month(getattr(event, landing.time_ms) // _DAY_MS), []).append(number)
    blocks = []
    for month, numbers in sorted(by_month.items()):
        rows, kept, refused = _rows(landing, [events[n] for n in numbers], [messages[n] for n in numbers])
        rejected += refused
        if kept:
            blocks.append(Block(landing.table, f"{span.token}:{month}", rows, kept, landing.time_ms))
    return blocks, rejected


def _rows(
    landing: Landing, events: list[Any], messages: list[Message]
) -> tuple[pa.Table, list[Message], list[Rejected]]:
    """An Arrow table; values that Arrow refuses are looked for one by one in the columns that failed."""
    refused: dict[int, str] = {}
    arrays = []
    for column in landing.columns:
        values = list(map(column.get, events))
        try:
            arrays.append(column.array(values))
        except REFUSALS:
            for number, value in enumerate(values):
                if (reason := column.refuses(value)) is not None:
                    refused.setdefault(number, reason)
            if not refused:
                raise
    if refused:
        kept = [n for n in range(len(events)) if n not in refused]
        rows, good, _ = _rows(landing, [events[n] for n in kept], [messages[n] for n in kept])
        return rows, good, [Rejected(messages[n], reason, "row") for n, reason in sorted(refused.items())]
    sources = (
        [message.topic() for message in messages],
        [message.partition() for message in messages],
        [message.offset() for message in messages],
        [message.timestamp()[1] for message in messages],
    )
    arrays += [pa.array(values, ARROW[kind]) for values, kind in zip(sources, SOURCE_TYPES.values(), strict=True)]
    names = [column.name for column in landing.columns] + list(SOURCE_TYPES)
    return pa.table(arrays, names=names), messages, []


@lru_cache(maxsize=10_000)
def _month(day: int) -> str:
    """Table partition (``toYYYYMM``) of a day since 1970, UTC."""
    return (_EPOCH + timedelta(days=day)).strftime("%Y%m")
