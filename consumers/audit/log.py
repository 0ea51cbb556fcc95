"""What Kafka has: how far the sink has come, which offsets of a stretch hold a message, which are dead letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import TIMESTAMP_NOT_AVAILABLE, KafkaError, KafkaException, Message, TopicPartition

from consumers.audit.rows import Stretch
from consumers.audit.runs import Run, Runs, readings, size
from tidemill.errors import Quarantine, Retry
from tidemill.events import Window
from tidemill.io import kafka, letters
from tidemill.io.headers import headers_of
from tidemill.settings import Settings
from tidemill.topics import SINK_GROUP, Topic

NEAR = 20_000
"""Missing stretches this near to each other are read in one go."""
SILENCE_S = 30.0
LETTER_SLACK_MS = 3_600_000
"""A dead letter is looked for from this long before its message arrived: clocks differ."""


class Present(NamedTuple):
    """Messages of some offsets: those a row should have been made of, and those no row can be made of."""

    sound: list[Run]
    malformed: list[Run]
    expired: list[Run]
    """Sound ones of events that are too old for the table's TTL."""

    @property
    def size(self) -> int:
        """How many there are."""
        return size(self.sound) + size(self.malformed) + size(self.expired)


class Log:
    """Asks the broker; joins no group and commits nothing. Every method blocks and raises Retry when it is away."""

    def __init__(self, settings: Settings, alive: Callable[[], None]) -> None:
        """``alive`` is called between readings, at least every second or so."""
        self._asking = kafka.consumer(settings, "tidemill-audit", SINK_GROUP)
        self._reading = kafka.consumer(settings, "tidemill-audit", "tidemill-audit")
        self._alive = alive

    def close(self) -> None:
        """Let go of both clients."""
        self._asking.close()
        self._reading.close()

    def stretches(self, topic: Topic, since_ms: int | None) -> list[Stretch]:
        """By partition what the sink has answered for: from the first message Kafka keeps (of those that arrived
        since ``since_ms``) up to the committed offset, which is read first.
        """
        try:
            count = kafka.partition_count(self._asking, topic.name)
            places = [TopicPartition(topic.name, partition) for partition in range(count)]
            ends = [found.offset for found in self._asking.committed(places, timeout=kafka.TIMEOUT_S)]
            lows = [self._asking.get_watermark_offsets(place, timeout=kafka.TIMEOUT_S)[0] for place in places]
            if since_ms is not None:
                lows = [max(low, start) for low, start in zip(lows, self._starts(places, since_ms), strict=True)]
        except KafkaException as error:
            raise Retry(f"Kafka does not answer: {error}") from error
        return [Stretch(low, max(low, end)) for low, end in zip(lows, ends, strict=True)]

    def present(self, topic: Topic, partition: int, absent: Sequence[Run], horizon_ms: int) -> Present:
        """Of these offsets those that hold a message in Kafka: the others were compacted away, belong to a
        transaction, or are older than the topic keeps. Events before ``horizon_ms`` get no row.
        """
        sound, malformed, expired = Runs(), Runs(), Runs()
        decode = topic.decoder()
        for group in readings(absent, NEAR):
            for message in self._of(TopicPartition(topic.name, partition, group[0].lo), group):
                try:
                    event = decode(message.value())
                    time_ms = event.start_ms if isinstance(event, Window) else event.time_ms
                    (expired if time_ms < horizon_ms else sound).add(message.offset(), _arrived(message))
                except Quarantine:
                    malformed.add(message.offset(), _arrived(message))
        return Present(sound.found, malformed.found, expired.found)

    def letters(self, topic: Topic, since_ms: int | None) -> dict[int, set[int]]:
        """Offsets of the topic whose message lies among its dead letters, by partition."""
        found: dict[int, set[int]] = {}
        if not topic.dead_letters:
            return found
        try:
            count = kafka.partition_count(self._reading, topic.dlq)
            places = [TopicPartition(topic.dlq, partition) for partition in range(count)]
            since = 0 if since_ms is None else max(0, since_ms - LETTER_SLACK_MS)
            starts = self._starts(places, since)
            spans = [
                (start, self._reading.get_watermark_offsets(place, timeout=kafka.TIMEOUT_S)[1])
                for start, place in zip(starts, places, strict=True)
            ]
        except KafkaException as error:
            raise Retry(f"Kafka does not answer: {error}") from error
        for partition, (start, end) in enumerate(spans):
            if end > start:
                self._read_letters(topic, TopicPartition(topic.dlq, partition, start), end - 1, found)
        return found

    def _starts(self, places: Sequence[TopicPartition], since_ms: int) -> list[int]:
        """The first offset of each that arrived since then; its end where none did."""
        asked = [TopicPartition(place.topic, place.partition, since_ms) for place in places]
        starts = []
        for found in self._reading.offsets_for_times(asked, timeout=kafka.TIMEOUT_S):
            end = self._reading.get_watermark_offsets(found, timeout=kafka.TIMEOUT_S)[1]
            starts.append(found.offset if found.offset >= 0 else end)
        return starts

    def _of(self, start: TopicPartition, wanted: Sequence[Run]) -> Iterator[Message]:
        at = 0
        for message in self._messages(start, wanted[-1].hi):
            offset = message.offset()
            while at < len(wanted) and wanted[at].hi < offset:
                at += 1
            if at < len(wanted) and wanted[at].lo <= offset:
                yield message

    def _read_letters(self, topic: Topic, start: TopicPartition, last: int, found: dict[int, set[int]]) -> None:
        for message in self._messages(start, last):
            _, said = letters.split(headers_of(message))
            partition, offset = said.get("partition", ""), said.get("offset", "")
            if said.get("topic") == topic.name and partition.isdecimal() and offset.isdecimal():
                found.setdefault(int(partition), set()).add(int(offset))

    def _messages(self, start: TopicPartition, last: int) -> Iterator[Message]:
        """Messages from ``start`` up to offset ``last``, or to the end of the partition."""
        self._reading.assign([start])
        silent_s = 0.0
        try:
            while True:
                batch = self._reading.consume(1_000, 0.2)
                self._alive()
                silent_s = 0.0 if batch else silent_s + 0.2
                if silent_s > SILENCE_S:
                    raise Retry(f"Kafka sends nothing of {start.topic}/{start.partition} from offset {start.offset} on")
                for message in batch:
                    error = message.error()
                    if error is None:
                        if message.offset() <= last:
                            yield message
                        if message.offset() >= last:
                            return
                    elif error.code() == KafkaError._PARTITION_EOF:
                        return
        finally:
            self._reading.unassign()


def _arrived(message: Message) -> int | None:
    """When the message arrived in Kafka, epoch milliseconds, where the broker says so."""
    kind, time_ms = message.timestamp()
    return None if kind == TIMESTAMP_NOT_AVAILABLE else int(time_ms)
