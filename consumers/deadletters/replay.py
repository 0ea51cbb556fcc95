"""Sending dead letters back to their topic: each once, as they were.

1. Start the producer: an earlier replay that still runs, or died, is fenced and its open batch is undone.
2. Read which letters were sent back already.
3. For each batch, in one transaction: the messages to their topic, and a marker beside the letters that names them.
A crash loses at most the open batch, whole: readers of committed records see each message once. Faust reads
uncommitted records: of monitoring.partials it may see a batch that was undone, and again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message

from consumers.deadletters.reading import REPLAYED, Found, Progress, Wanted, letters, remembered
from tidemill.errors import Retry, Stop
from tidemill.io import kafka
from tidemill.settings import Settings
from tidemill.topics import Topic

BATCH = 500
BATCH_BYTES = 4_194_304
COMMIT_S = 30.0


@dataclass
class Tally:
    """What became of the letters that match, in letters."""

    sent: int = 0
    """Sent back, or (dry run) those that would be."""
    counted: int = 0
    """Of these, valid events that windows have counted already (stages ``row`` and ``insert``)."""
    already: int = 0
    """Sent back before, or a repeat of one that was."""
    cut: int = 0
    """Stubs: the message is not whole."""
    foreign: int = 0
    """Never were a message of the topic, or do not say where they stood."""
    too_large: list[str] = field(default_factory=list)
    """Ids of letters that their topic does not take."""


def sendable(found: Iterable[Found], done: set[str], tally: Tally) -> Iterator[Found]:
    """The letters to send; those that are not are counted, and ``done`` grows by the ids of those that are."""
    for letter in found:
        if letter.cut:
            tally.cut += 1
        elif letter.place is None:
            tally.foreign += 1
        elif letter.id in done:
            tally.already += 1
        else:
            done.add(letter.id)
            yield letter


def rehearse(settings: Settings, topic: Topic, wanted: Wanted, progress: Progress = lambda _: None) -> Tally:
    """What ``replay`` would do. Blocks; raises Retry when Kafka is away."""
    tally = Tally()
    done = remembered(settings, topic, progress)
    for letter in sendable(letters(settings, topic, wanted, progress), done, tally):
        _note(tally, [letter])
    return tally


def replay(settings: Settings, topic: Topic, wanted: Wanted, progress: Progress = lambda _: None) -> Tally:
    """Send back what matches and was not sent before. Blocks. Raises Retry or Stop; what was sent stays remembered."""
    sender = Sender(settings, topic)
    tally = Tally()
    done = remembered(settings, topic, progress)
    for batch in batches(sendable(letters(settings, topic, wanted, progress), done, tally)):
        refused = sender.send(batch)
        tally.too_large += [letter.id for letter in refused]
        _note(tally, [letter for letter in batch if letter not in refused])
    return tally


def batches(found: Iterable[Found], most: int = BATCH, most_bytes: int = BATCH_BYTES) -> Iterator[list[Found]]:
    """Letters in transactions of at most so many and, but for the last one of each, so many bytes."""
    batch: list[Found] = []
    filled = 0
    for letter in found:
        batch.append(letter)
        filled += len(letter.value or b"")
        if len(batch) >= most or filled >= most_bytes:
            yield batch
            batch, filled = [], 0
    if batch:
        yield batch


def marker(batch: Iterable[Found]) -> dict[int, bytes]:
    """By partition of the dead-letter topic: the value that names its letters."""
    ids: dict[int, list[str]] = {}
    for letter in batch:
        ids.setdefault(letter.partition, []).append(letter.id)
    return {partition: msgspec.json.encode(found) for partition, found in ids.items()}


def _note(tally: Tally, sent: list[Found]) -> None:
    stages = Counter(letter.stage for letter in sent)
    tally.sent += len(sent)
    tally.counted += stages["row"] + stages["insert"]


class Sender:
    """Sends batches back to one topic. Starting it fences the one before. Raises Retry where Kafka is away."""

    def __init__(self, settings: Settings, topic: Topic) -> None:
        self._settings, self._topic = settings, topic
        self._producer = self._start()

    def send(self, batch: list[Found]) -> list[Found]:
        """Commit the batch; give back the letters that the topic does not take. Raises Retry, Stop."""
        left, refused = list(batch), []
        while left:
            too_large = self._attempt(left)
            if not too_large:
                break
            refused += too_large
            left = [letter for letter in left if letter not in too_large]
        return refused

    def _attempt(self, batch: list[Found]) -> list[Found]:
        """One transaction; where some letters are too large it is undone and they are given back."""
        failed: list[tuple[Found | None, KafkaError]] = []
        try:
            self._producer.begin_transaction()
            for letter in batch:
                self._produce(
                    letter, failed, topic=self._topic.name, value=letter.value, key=letter.key, headers=letter.own
                )
            for partition, value in marker(batch).items():
                headers = [(REPLAYED, b"1")]
                self._produce(None, failed, topic=self._topic.dlq, value=value, headers=headers, partition=partition)
            while len(self._producer) and not failed:  # after a failure the others get no answer before the abort
                self._producer.poll(0.1)
            if not failed:
                self._producer.commit_transaction(COMMIT_S)
                return []
        except KafkaException as error:
            raise _trouble(error.args[0]) from error
        too_large = [letter for letter, error in failed if letter and error.code() == KafkaError.MSG_SIZE_TOO_LARGE]
        if not too_large:
            raise _trouble(failed[0][1])
        self._producer.purge()
        self._producer = self._start()  # ends the open transaction; to abort it may wait for ever for the other answers
        return too_large

    def _produce(self, letter: Found | None, failed: list[tuple[Found | None, KafkaError]], **sent: Any) -> None:
        def note(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failed.append((letter, error))

        try:
            kafka.hand_over(self._producer, **sent, on_delivery=note)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            failed.append((letter, error.args[0]))

    def _start(self) -> Any:
        try:
            return kafka.transactional_producer(
                self._settings, "tidemill-dlq", f"tidemill-dlq-{self._settings.deployment}"
            )
        except KafkaException as error:
            raise Retry(f"Kafka opens no transactions: {error.args[0]}; run the command again") from error


def _trouble(cause: KafkaError) -> Retry | Stop:
    if cause.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
        return Stop("another `tidemill dlq replay` took over; it goes on from what this one has sent")
    return Retry(f"Kafka did not take the letters: {cause}; run the command again: what was sent is remembered")
