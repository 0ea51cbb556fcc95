"""Removing dead letters. Kafka deletes only from a partition's beginning, so what stays is written again first.

1. Find, for each partition, the last letter that matches.
2. Write every other record before it again at the end (time stamp and id kept) and wait for the broker's word on each.
3. Delete the partition up to that last match.
A crash after 2 leaves repeats, which have the same id, and loses none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from confluent_kafka import KafkaException, Message, Producer, TopicPartition

from consumers.deadletters.bury import as_bytes, own_headers
from consumers.deadletters.reading import ID, Found, Progress, Replayed, Wanted, remembered, scan
from tidemill.errors import Retry
from tidemill.io import kafka
from tidemill.settings import Settings
from tidemill.topics import Topic


@dataclass(frozen=True)
class Cut:
    """What is to be done to one dead-letter topic."""

    topic: Topic
    wanted: Wanted
    ids: frozenset[str] | None
    """Only letters among these; None: any."""
    dropped: int = 0
    """Letters that match."""
    kept: int = 0
    """Letters to be written again."""
    ends: Mapping[int, int] = field(default_factory=dict)
    """By partition: the offset to delete up to (exclusive)."""

    def takes(self, letter: Found) -> bool:
        """Whether this letter goes."""
        return self.wanted.takes(letter) and (self.ids is None or letter.id in self.ids)

    def stays(self, record: Found | Replayed) -> bool:
        """Whether this record is deleted with the others and must be written again before."""
        below = record.message.offset() < self.ends.get(record.message.partition(), 0)
        return below and not (isinstance(record, Found) and self.takes(record))


def plan(
    settings: Settings, topic: Topic, wanted: Wanted, *, only_replayed: bool, progress: Progress = lambda _: None
) -> Cut:
    """What ``drop`` would do. Blocks; raises Retry when Kafka is away."""
    ids = frozenset(remembered(settings, topic, progress)) if only_replayed else None
    cut = Cut(topic, wanted, ids)
    ends: dict[int, int] = {}
    dropped = kept = 0
    others: dict[int, int] = {}
    for record in scan(settings, topic, progress):
        if not isinstance(record, Found):
            continue
        if cut.takes(record):
            ends[record.partition] = record.offset + 1
            dropped += 1
            kept += others.pop(record.partition, 0)
        else:
            others[record.partition] = others.get(record.partition, 0) + 1
    return replace(cut, dropped=dropped, kept=kept, ends=ends)


def drop(settings: Settings, cut: Cut, progress: Progress = lambda _: None) -> None:
    """Carry out the plan. Blocks. Raises Retry when Kafka is away; nothing that stays is deleted before it is safe."""
    if not cut.ends:
        return
    if cut.kept:
        _write_again(settings, cut, progress)
    admin = kafka.admin(settings, "tidemill-dlq")
    places = [TopicPartition(cut.topic.dlq, partition, end) for partition, end in cut.ends.items()]
    try:
        for future in admin.delete_records(places).values():
            future.result(kafka.TIMEOUT_S)
    except KafkaException as error:
        raise Retry(f"Kafka did not delete the letters: {error}; run the command again") from error


def _write_again(settings: Settings, cut: Cut, progress: Progress) -> None:
    """Letters that stay, and the markers: they may name one of them."""
    producer = kafka.producer(settings, "tidemill-dlq", queue_buffering_max_kbytes=65_536)
    failures: list[str] = []
    for record in scan(settings, cut.topic, progress):
        if cut.stays(record):
            _append(producer, cut.topic.dlq, record, failures)
    unanswered = producer.flush(kafka.TIMEOUT_S * 6)
    if failures or unanswered:
        said = failures[0] if failures else f"no answer to {unanswered} of them"
        raise Retry(f"Kafka did not take what stays ({said}); nothing was deleted, run the command again")


def _append(producer: Producer, dlq: str, record: Found | Replayed, failures: list[str]) -> None:
    message: Message = record.message
    headers = own_headers(message)
    if isinstance(record, Found) and ID not in record.said:
        headers.append((ID, record.id.encode()))
    kafka.hand_over(
        producer,
        dlq,
        message.value(),
        as_bytes(message.key()),
        headers=headers,
        partition=message.partition(),
        timestamp=message.timestamp()[1],
        on_delivery=kafka.delivered(failures),
    )
