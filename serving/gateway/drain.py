"""Carries the spool to Kafka, each record exactly once, whatever dies when.

1. ``init_transactions`` fences a predecessor of the same spool and ends what it left open.
2. The position is read from Kafka: it is committed as the offset of a group that bears the spool's id.
3. Records from there on go out in one transaction *together with* the new position, then the spool forgets them.
On any error the session ends and a new one starts at 1: what was committed is known there, what was not is repeated.
What Kafka refuses (no right to a topic, say) rather than being away is trouble that the health page tells.
A record that cannot go out (damaged, or larger than its topic holds) is set aside, see quarantine.py.
"""

from __future__ import annotations

import logging
import threading
from typing import Any

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from serving.gateway.spool import Spool
from tidemill.errors import Retry, Stop
from tidemill.io import kafka
from tidemill.settings import Settings
from tidemill.topics import BY_NAME, GATEWAYS, MAX_DLQ_MESSAGE_BYTES, MAX_MESSAGE_BYTES, TOPICS

log = logging.getLogger(__name__)
TRANSACTION_MS = 15_000
LINGER_S = 0.1
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 5.0
ROOM = 4096
"""Bytes left for the record's own overhead in Kafka."""
_AWAY = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_COORD,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.CONCURRENT_TRANSACTIONS,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REQUEST_TIMED_OUT,
    }
)
"""Codes of a Kafka that is away, as a whole or in part: the spool is there for that."""
_TOPICS = frozenset(name for topic in TOPICS for name in (topic.name, topic.dlq))


class Envelope(msgspec.Struct, array_like=True, frozen=True):
    """One message to be produced."""

    topic: str
    key: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Envelope).decode


def pack(envelope: Envelope) -> bytes:
    """The spool's payload for one message."""
    return _encode(envelope)


def limit(topic: str) -> int:
    """The most bytes that a message of ``topic`` (or of a dead-letter topic) may have."""
    return (MAX_MESSAGE_BYTES if topic in BY_NAME else MAX_DLQ_MESSAGE_BYTES) - ROOM


def size(envelope: Envelope) -> int:
    """The message's bytes: key, value and headers."""
    headers = sum(len(name) + len(value) for name, value in envelope.headers)
    return len(envelope.key.encode()) + len(envelope.value) + headers


class Drainer(threading.Thread):
    """Start it; ``stop`` ends it once the spool is empty or the time is up. Only a Stop ends it before that."""

    def __init__(self, settings: Settings, spool: Spool) -> None:
        super().__init__(name="drain", daemon=True)
        self._settings, self._spool = settings, spool
        self._stopping = threading.Event()
        self._resting = threading.Event()  # never set: a wait that ``stop`` does not end
        self._slot = TopicPartition(
            GATEWAYS.name, 0
        )  # any partition serves: the offset is the spool's, not the topic's
        self._failures, self._said = 0, ""
        self._compared = False
        self.trouble: str | None = None
        """Why nothing is carried, where that is not just Kafka being away (the spool is there for that)."""
        self.ended_by: Stop | None = None
        """What ended the thread for good."""

    def run(self) -> None:
        while not self._done():
            try:
                self._session()
            except Stop as error:
                self.ended_by = error
                log.critical("draining ended for good: %s", error)
                return
            except Exception as error:
                self._failed(error)

    def _failed(self, error: Exception) -> None:
        """Say it (once, until something else happens) and wait a little longer each time."""
        foreseen = isinstance(error, KafkaException | Retry)
        said = f"{type(error).__name__}: {error}"
        again = said == self._said  # a fenced session, say, refuses once; the next one works
        self.trouble = f"the drain fails: {said}" if not foreseen or (refusal(error) and again) else None
        if not again:
            self._said = said
            log.warning("draining stopped, trying again: %s", said, exc_info=None if foreseen else error)
        wait_s = min(FIRST_WAIT_S * 2.0 ** min(self._failures, 10), LONGEST_WAIT_S)
        self._failures += 1
        if self._stopping.wait(wait_s):
            self._resting.wait(FIRST_WAIT_S / 5)

    def _worked(self) -> None:
        self._failures, self._said, self.trouble = 0, "", None

    def stop(self, within_s: float) -> bool:
        """Drain what is left, at most ``within_s``; whether all of it is in Kafka."""
        self._stopping.set()
        self.join(within_s)
        return self._spool.pending_records == 0

    def _done(self) -> bool:
        return self._stopping.is_set() and self._spool.pending_records == 0

    def _session(self) -> None:
        name = f"tidemill-gateway-{self._spool.id}"
        producer = kafka.producer(
            self._settings,
            name,
            transactional_id=name,
            transaction_timeout_ms=TRANSACTION_MS,
            message_timeout_ms=TRANSACTION_MS,
            linger_ms=2,
        )
        group = kafka.consumer(self._settings, name, f"{name}-spool")
        try:
            producer.init_transactions(10)
            committed = group.committed([self._slot], timeout=10)[0]
            if committed.error is not None:
                raise KafkaException(committed.error)
            self._spool.skip_to(self._believed(group, committed.offset))
            if self._spool.pending_bytes == 0:
                self._worked()
            while not self._done():
                if self._spool.pending_bytes == 0:
                    self._spool.wait(0.2)
                    self._stopping.wait(LINGER_S)
                self._carry(producer, group.consumer_group_metadata())
        finally:
            producer.purge()
            group.close()

    def _believed(self, group: Any, in_kafka: int) -> int:
        """Up to where the spool's records are in Kafka. Before this process has sent any, Kafka cannot have more than
        was found here at start: a power cut took that tail, and new records stand where it stood.
        """
        if not self._compared and in_kafka > self._spool.recovered_end:
            in_kafka = self._spool.recovered_end
            group.commit(offsets=[self._at(in_kafka)], asynchronous=False)
        self._compared = True
        return in_kafka

    def _at(self, position: int) -> TopicPartition:
        return TopicPartition(self._slot.topic, self._slot.partition, position)

    def _carry(self, producer: Any, group: Any) -> None:
        """One transaction: the next records that can go out, and the position after them."""
        batch = self._spool.read(self._spool.position)
        if batch.position == self._spool.position:
            return
        undelivered: list[KafkaError] = []
        producer.begin_transaction()
        for payload in batch.payloads:
            if (message := self._sound(payload)) is not None:
                _produce(producer, message, undelivered)
        try:
            kafka.send_offsets(producer, [self._at(batch.position)], group)
            producer.commit_transaction(10)
        except KafkaException as error:
            if undelivered:  # the reason; the transaction's own error says only that some messages failed
                raise KafkaException(undelivered[0]) from error
            raise
        self._spool.release(batch.position, len(batch.payloads))
        self._worked()

    def _sound(self, payload: bytes) -> Envelope | None:
        """The message of a record; None, with the record set aside, where Kafka would never take it."""
        try:
            message = _decode(payload)
        except msgspec.MsgspecError as error:
            self._spool.set_aside(payload, f"no message of ours: {error}")
            return None
        if message.topic not in _TOPICS:
            self._spool.set_aside(payload, f"there is no topic {message.topic!r}")
            return None
        if (given := size(message)) > limit(message.topic):
            self._spool.set_aside(payload, f"{given} bytes are more than {message.topic} holds")
            return None
        return message


def refusal(error: Exception) -> bool:
    """Whether Kafka refuses what it is asked, so that waiting alone cannot help."""
    reason = error.args[0] if isinstance(error, KafkaException) and error.args else None
    return isinstance(reason, KafkaError) and not reason.retriable() and reason.code() not in _AWAY


def _produce(producer: Any, message: Envelope, undelivered: list[KafkaError]) -> None:
    def note(error: KafkaError | None, _: Any) -> None:
        if error is not None:
            undelivered.append(error)

    while True:
        try:
            producer.produce(
                message.topic,
                message.value,
                message.key.encode() or None,
                headers=list(message.headers) or None,
                on_delivery=note,
            )
            return
        except BufferError:
            producer.poll(0.1)
