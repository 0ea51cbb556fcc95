"""What is in the topics and in the tables, read plainly."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Message

from tests.faults.checks import Alarm, Letter
from tests.faults.reference import Arrived, Key, Place, Sums
from tests.faults.story import SOURCES
from tidemill.codec import Decoder
from tidemill.errors import Quarantine
from tidemill.events import Partial, Partials, Progress, ThresholdEvent, Window
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import follower, read_to_end
from tidemill.settings import Settings
from tidemill.topics import PARTIALS, THRESHOLDS, WINDOWS, Topic

CONTENT = {
    "requests": "concat(call_id, ' ', toString(time_ms))",
    "responses": "concat(answer_id, ' ', toString(time_ms))",
    "feedback": "concat(feedback_id, ' ', toString(time_ms))",
    "windows": "concat(pipeline, ' ', metric, ' ', toString(start_ms), ' ', toString(n))",
    "events": "id",
    "routes": "concat(pipeline, ' ', toString(epoch))",
}
"""What a row is known by besides its place."""


def content_of(topic: Topic, event: Any) -> str:
    """The same words from the event."""
    match topic.table:
        case "requests":
            return f"{event.call_id} {event.time_ms}"
        case "responses":
            return f"{event.answer_id} {event.time_ms}"
        case "feedback":
            return f"{event.feedback_id} {event.time_ms}"
        case "windows":
            return f"{event.pipeline} {event.metric} {event.start_ms} {event.n}"
        case "events":
            return str(event.id)
        case "routes":
            return f"{event.pipeline} {event.epoch}"
        case other:
            raise ValueError(f"no words for {other}")


def messages(settings: Settings, topic: str) -> list[Message]:
    """Every message of a topic; aborted ones are hidden."""
    reader = follower(settings, "faults-reader", Topic(topic, None, "", 1, "", ""))
    try:
        return list(read_to_end(reader))
    finally:
        reader.close()


def place_of(message: Message) -> Place:
    return Place(str(message.topic()), int(message.partition() or 0), int(message.offset() or 0))


def good(settings: Settings, topic: Topic) -> dict[Place, Arrived]:
    """The valid messages of a topic."""
    decode: Decoder[Any] = topic.decoder()
    found: dict[Place, Arrived] = {}
    for message in messages(settings, topic.name):
        with contextlib.suppress(Quarantine):
            found[place_of(message)] = Arrived(decode(message.value()), message.timestamp()[1])
    return found


def bad(settings: Settings, topic: Topic) -> list[Letter]:
    """The malformed messages of a topic."""
    decode: Decoder[Any] = topic.decoder()
    found: list[Letter] = []
    for message in messages(settings, topic.name):
        try:
            decode(message.value())
        except Quarantine:
            found.append((topic.name, message.key(), message.value()))
    return found


def letters(settings: Settings) -> list[Letter]:
    """The dead letters of the sources."""
    return [(topic.name, m.key(), m.value()) for topic in SOURCES for m in messages(settings, topic.dlq)]


def ranges(settings: Settings) -> dict[tuple[str, int], list[tuple[int, int]]]:
    """The frozen ranges that the meters said, by source partition."""
    found: dict[tuple[str, int], set[tuple[int, int]]] = {}
    for one in _partials(settings):
        found.setdefault((one.topic, one.partition), set()).add((one.lo, one.hi))
    return {place: sorted(spans) for place, spans in found.items()}


def _partials(settings: Settings) -> Iterator[Partial]:
    decode: Decoder[Partial | Partials | Progress] = PARTIALS.decoder()
    for message in messages(settings, PARTIALS.name):
        said = decode(message.value())
        if isinstance(said, Partials):
            yield from said.partials
        elif isinstance(said, Partial):
            yield said


def threshold_events(settings: Settings) -> list[tuple[str, Alarm]]:
    """Id, and pipeline, rule and state of each; without what the monitors say of themselves."""
    found: list[tuple[str, Alarm]] = []
    for message in messages(settings, THRESHOLDS.name):
        event: ThresholdEvent = THRESHOLDS.decoder()(message.value())
        if event.data.kind != "system":
            found.append((event.id, (event.data.pipeline, event.data.rule, event.data.state)))
    return found


def rows(store: Store, table: str) -> list[tuple[Place, str]]:
    """Place and content of every row."""
    sql = f"SELECT _topic AS t, _partition AS p, _offset AS o, {CONTENT[table]} AS c FROM {table}"
    return [(Place(row["t"], row["p"], row["o"]), row["c"]) for row in store.rows(sql)]


def windows(store: Store) -> dict[Key, Sums]:
    """The highest revision of each whole window in the table; windows without data left out."""
    sql = (
        "SELECT pipeline, model_version, variant, role, metric, start_ms, n, total, total_sq FROM windows "
        "WHERE slice = '' ORDER BY revision DESC LIMIT 1 BY pipeline, model_version, variant, role, metric, start_ms"
    )
    found: dict[Key, Sums] = {}
    for row in store.rows(sql):
        key = Key(*(row[name] for name in Key._fields))
        found[key] = Sums(row["n"], row["total"], row["total_sq"])
    return {key: sums for key, sums in found.items() if sums.n}


def contradictions(settings: Settings) -> int:
    """Window rows of one key and revision that say different things."""
    said: dict[tuple[Key, str, int], set[Sums]] = {}
    for message in messages(settings, WINDOWS.name):
        row: Window = WINDOWS.decoder()(message.value())
        key = Key(*(getattr(row, name) for name in Key._fields))
        said.setdefault((key, row.slice, row.revision), set()).add(Sums(row.n, row.total, row.total_sq))
    return sum(len(ways) > 1 for ways in said.values())
