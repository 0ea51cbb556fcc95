"""Reading a dead-letter topic: letters as found, which of them match, and what was replayed already.

Beside letters the topic holds markers: records that name letters sent back to their topic (``Replayed``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import msgspec
from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from consumers.deadletters.bury import as_bytes, own_headers
from tidemill.errors import Retry
from tidemill.io.kafka import TIMEOUT_S, follower, partition_count, read_to_end
from tidemill.io.letters import OURS, Header, split
from tidemill.settings import Settings
from tidemill.topics import Topic

REPLAYED = OURS + "replayed"
"""Header of a marker; its value is a JSON list of letters' ids."""
ID = OURS + "id"
"""Header of a letter that was written again: its id from before."""

Progress = Callable[[int], None]
"""Called with how many more offsets were passed."""


@dataclass(frozen=True)
class Found:
    """One letter. ``source``: the topic whose letters these are."""

    source: str
    message: Message

    @property
    def partition(self) -> int:
        """Of the dead-letter topic."""
        return int(self.message.partition())

    @property
    def offset(self) -> int:
        """In the dead-letter topic."""
        return int(self.message.offset())

    @property
    def time_ms(self) -> int:
        """When it was sent to the dead letters, epoch milliseconds."""
        return int(self.message.timestamp()[1])

    @property
    def key(self) -> bytes | None:
        """The message's key."""
        return as_bytes(self.message.key())

    @property
    def value(self) -> bytes | None:
        """The message as it was, or its beginning (``cut``)."""
        value: bytes | None = self.message.value()
        return value

    @cached_property
    def _parts(self) -> tuple[list[Header], dict[str, str]]:
        own, said = split(own_headers(self.message))
        return own, dict(said)

    @property
    def own(self) -> list[Header]:
        """The headers that the message came with."""
        return self._parts[0]

    @property
    def said(self) -> dict[str, str]:
        """What the refusal said, by name."""
        return self._parts[1]

    @property
    def refused(self) -> bool:
        """Whether a refusal was noted with it: then it is a letter, whatever its own headers say."""
        return "topic" in self.said

    @property
    def role(self) -> str:
        """Who refused it; empty: not said."""
        return self.said.get("connector.name", "")

    @property
    def stage(self) -> str:
        """Where it was refused; empty: not said."""
        return self.said.get("stage", "")

    @property
    def reason(self) -> str:
        """Why it was refused."""
        return self.said.get("exception.message", "")

    @property
    def gist(self) -> str:
        """The reason without its numbers: equal for letters that were refused for the same thing."""
        return re.sub(r"\d+", "N", self.reason)

    @property
    def place(self) -> tuple[int, int] | None:
        """Partition and offset of the message in its topic; None: it never was there, or nobody said."""
        try:
            return int(self.said["partition"]), int(self.said["offset"])
        except (KeyError, ValueError):
            return None

    @property
    def cut(self) -> bool:
        """Whether only the beginning was kept."""
        return "value.bytes" in self.said

    @property
    def id(self) -> str:
        """The same for a letter and its repeats, and after it was written again by ``drop``."""
        if ID in self.said:
            return self.said[ID]
        if self.place is not None:
            return f"{self.place[0]}-{self.place[1]}@{self.said.get('timestamp', '')}"
        return f"letter {self.partition}-{self.offset}"


@dataclass(frozen=True)
class Replayed:
    """A marker: these letters were sent back to their topic."""

    message: Message

    @property
    def ids(self) -> list[str]:
        """Letters' ids; none where somebody else wrote it."""
        try:
            return msgspec.json.decode(self.message.value() or b"[]", type=list[str])
        except msgspec.DecodeError:
            return []


@dataclass(frozen=True)
class Wanted:
    """Which letters a command is about; what is empty or None is not asked for."""

    reason: str = ""
    """A part of the reason, with or without its numbers, in any case."""
    stage: str = ""
    since_ms: int | None = None
    """Sent to the dead letters at or after this, epoch milliseconds …"""
    until_ms: int | None = None
    """… and before this."""
    partition: int | None = None
    """Of the message in its topic, as the offset."""
    offset: int | None = None

    def takes(self, letter: Found) -> bool:
        """Whether this letter is one of them."""
        part = self.reason.casefold()
        at = letter.place or (None, None)
        return (
            (part in letter.reason.casefold() or part in letter.gist.casefold())
            and self.stage in ("", letter.stage)
            and (self.since_ms is None or letter.time_ms >= self.since_ms)
            and (self.until_ms is None or letter.time_ms < self.until_ms)
            and self.partition in (None, at[0])
            and self.offset in (None, at[1])
        )


def scan(settings: Settings, topic: Topic, progress: Progress = lambda _: None) -> Iterator[Found | Replayed]:
    """Letters and markers of ``topic.dlq`` from its beginning to its end. Blocks; raises Retry when Kafka is away."""
    reader = follower(settings, "tidemill-dlq", replace(topic, name=topic.dlq))
    try:
        for message in read_to_end(reader):
            progress(1)
            found = Found(topic.name, message)
            yield found if found.refused or REPLAYED not in found.said else Replayed(message)
    finally:
        reader.close()


def letters(settings: Settings, topic: Topic, wanted: Wanted, progress: Progress = lambda _: None) -> Iterator[Found]:
    """The letters that match. Blocks; raises Retry when Kafka is away."""
    for found in scan(settings, topic, progress):
        if isinstance(found, Found) and wanted.takes(found):
            yield found


def remembered(settings: Settings, topic: Topic, progress: Progress = lambda _: None) -> set[str]:
    """Ids of the letters that were sent back to their topic. Blocks; raises Retry when Kafka is away."""
    found: set[str] = set()
    for each in scan(settings, topic, progress):
        if isinstance(each, Replayed):
            found.update(each.ids)
    return found


def sizes(settings: Settings, topics: Sequence[Topic]) -> dict[Topic, int]:
    """Topics with dead letters, and how many offsets those span: what a scan passes. Raises Retry: Kafka is away."""
    reader = quiet_reader(settings, "tidemill-dlq", topics[0])
    try:
        return {topic: span for topic in topics if (span := _span(reader, topic))}
    except KafkaException as error:
        raise Retry(f"Kafka does not say what the dead letters span: {error.args[0]}") from error
    finally:
        reader.close()


def quiet_reader(settings: Settings, client: str, topic: Topic) -> Consumer:
    """A reader that is assigned nothing: one that fetches makes every question wait behind the fetch (0.5 s each)."""
    reader = follower(settings, client, replace(topic, name=topic.dlq))
    reader.unassign()
    return reader


def _span(reader: Consumer, topic: Topic) -> int:
    places = [TopicPartition(topic.dlq, partition) for partition in range(partition_count(reader, topic.dlq))]
    ends = [reader.get_watermark_offsets(place, timeout=TIMEOUT_S) for place in places]
    return sum(high - low for low, high in ends)
