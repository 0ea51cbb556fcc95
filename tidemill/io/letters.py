"""What a dead letter says of its refusal: headers named as Kafka Connect names them (KIP-298). Pure.

Whoever refuses a message makes them (sink, streams, gateway); ``tidemill dlq`` and any tool that knows Kafka Connect
reads them. They stand behind the message's own headers, as one block that begins with the topic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PREFIX = "__connect.errors."
REASON_CHARACTERS = 1_000
ERROR = "tidemill.errors.Quarantine"
OURS = "__tidemill.dlq."
"""Prefix of what `tidemill dlq` notes with a letter."""
_FIRST = PREFIX + "topic"

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Refusal:
    """Why a message can never be handled, by whom, and where it stood."""

    topic: str
    """The topic the message was read from or meant for."""
    role: str
    stage: str
    """``decode``, ``row``, ``insert``, ``attribution``."""
    reason: str
    partition: int | None = None
    """None, as the offset: it never was a message of the topic."""
    offset: int | None = None
    time_ms: int | None = None
    """The message's time stamp in Kafka, epoch milliseconds."""

    def headers(self) -> list[tuple[str, bytes]]:
        """The block to stand behind the message's own headers; what is not known is left out."""
        said = {
            "topic": self.topic,
            "partition": self.partition,
            "offset": self.offset,
            "connector.name": self.role,
            "stage": self.stage,
            "exception.class.name": ERROR,
            "exception.message": self.reason[:REASON_CHARACTERS],
            "timestamp": self.time_ms,
        }
        return [
            (PREFIX + name, str(value).encode(errors="replace")) for name, value in said.items() if value is not None
        ]


def split(headers: Iterable[Header]) -> tuple[list[Header], Mapping[str, str]]:
    """The message's own headers, and what the last refusal said by name (without the prefix, other names whole).

    A message that was a letter before keeps that refusal's headers among its own.
    """
    given = list(headers)
    starts = [number for number, (name, _) in enumerate(given) if name == _FIRST]
    if starts:
        own, block = given[: starts[-1]], given[starts[-1] :]
    else:
        block = [header for header in given if header[0].startswith((PREFIX, OURS))]
        own = [header for header in given if header not in block]
    return own, {name.removeprefix(PREFIX): (value or b"").decode(errors="replace") for name, value in block}
