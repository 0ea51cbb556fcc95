"""How dead letters look on a terminal and as JSON. Pure; content is shown only where asked for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from consumers.deadletters.reading import Found

SHOWN = 2_000
"""Characters of a value on a terminal."""
SHOWN_KEY = 200


@dataclass
class Group:
    """Letters of one topic that were refused at one stage for one thing."""

    topic: str
    stage: str
    reason: str
    letters: int = 0
    replayed: int = 0
    first_ms: int = 0
    last_ms: int = 0
    partitions: set[int] = field(default_factory=set)
    """Of the topic the messages come from; empty: nobody said."""

    def add(self, letter: Found, *, replayed: bool) -> None:
        """One letter more."""
        self.first_ms = min(self.first_ms, letter.time_ms) if self.letters else letter.time_ms
        self.last_ms = max(self.last_ms, letter.time_ms)
        self.letters += 1
        self.replayed += replayed
        if letter.place is not None:
            self.partitions.add(letter.place[0])


def clock(time_ms: int) -> str:
    """A time for people, UTC."""
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}Z"


def readable(content: bytes) -> str:
    """Text with its control characters made visible, or hex where it is no text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return "hex " + content.hex()
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)


def cut(text: str, most: int) -> str:
    """The text's beginning, with what was left out."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text) - most:,} characters more)"


def as_json(letter: Found, *, values: bool) -> dict[str, Any]:
    """Everything about a letter; its value only where asked for."""
    size, digest = facts(letter)
    found: dict[str, Any] = {
        "topic": letter.source,
        "partition": letter.place[0] if letter.place else None,
        "offset": letter.place[1] if letter.place else None,
        "letter": {"partition": letter.partition, "offset": letter.offset, "time_ms": letter.time_ms},
        "stage": letter.stage,
        "reason": letter.reason,
        "role": letter.said.get("connector.name", ""),
        "key": None if letter.key is None else readable(letter.key),
        "headers": [[name, None if value is None else readable(value)] for name, value in letter.own],
        "value_bytes": size,
        "value_sha256": digest,
        "cut": letter.cut,
    }
    if values:
        found["value"] = None if letter.value is None else readable(letter.value)
    return found


def lines(letter: Found, *, values: bool) -> list[str]:
    """The same for people."""
    size, digest = facts(letter)
    place = "its place is not known" if letter.place is None else f"{letter.place[0]}, offset {letter.place[1]}"
    found = [
        f"{letter.source} partition {place}" if letter.place else f"{letter.source}: {place}",
        f"  letter   partition {letter.partition}, offset {letter.offset}, {clock(letter.time_ms)}",
        f"  refused  {letter.stage or 'stage not said'}: {readable(letter.reason.encode())}",
        f"  key      {'none' if letter.key is None else cut(readable(letter.key), SHOWN_KEY)}",
    ]
    for name, value in letter.own:
        found.append(f"  header   {name}: {'none' if value is None else cut(readable(value), SHOWN_KEY)}")
    if size is None:
        found.append("  value    none (a tombstone)")
        return found
    found.append(f"  value    {size:,} bytes, sha256 {digest}{', only its beginning is kept' if letter.cut else ''}")
    if values:
        found.append(cut(readable(letter.value or b""), SHOWN))
    return found


def facts(letter: Found) -> tuple[int | None, str | None]:
    """Size and SHA-256 of the whole value, also where only its beginning was kept; None: a tombstone."""
    if letter.cut:
        return int(letter.said["value.bytes"]), letter.said.get("value.sha256", "")
    if letter.value is None:
        return None, None
    return len(letter.value), hashlib.sha256(letter.value).hexdigest()
