"""Dead letters: messages that can never be handled go, unchanged, to ``<topic>.dlq`` with the reason in headers.

Bytes, key and headers stay as they were (tombstones too); what is known of the refusal is added as headers in the
manner of Kafka Connect (KIP-298). A message too large for the dead letters (a topic's limit is on compressed batches)
is buried as a stub: its beginning, with size and SHA-256 of the whole in headers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message

from tidemill.io import kafka
from tidemill.io.headers import headers_of
from tidemill.io.letters import PREFIX, Header, Refusal
from tidemill.settings import Settings
from tidemill.topics import BY_NAME

ROLE = "sink"
FLUSH_S = 5.0
STUB_BYTES = 65_536
"""How much a stub keeps of the value; key and own headers are left out where they are longer than that."""


class Rejected(NamedTuple):
    """A refused message: why, and at which stage (``decode``, ``row``, ``insert``)."""

    message: Message
    reason: str
    stage: str


def own_headers(message: Message) -> list[Header]:
    """The headers that the message came with."""
    return [(name, as_bytes(value)) for name, value in headers_of(message)]


def refusal_headers(rejected: Rejected) -> list[Header]:
    """What is known of the refusal, as headers."""
    message = rejected.message
    refusal = Refusal(
        message.topic() or "",
        ROLE,
        rejected.stage,
        rejected.reason,
        message.partition(),
        message.offset(),
        message.timestamp()[1],
    )
    return list(refusal.headers())


class Letter(NamedTuple):
    """What is sent to the dead letters."""

    value: bytes | None
    key: bytes | None
    headers: list[Header]
    cut: bool = False
    """Whether it is a stub."""


def letter(rejected: Rejected) -> Letter:
    """The message as it was, with the refusal's headers."""
    message = rejected.message
    return Letter(message.value(), as_bytes(message.key()), own_headers(message) + refusal_headers(rejected))


def stub(rejected: Rejected) -> Letter:
    """What is kept of a message too large to be kept: at most about three times STUB_BYTES."""
    message = rejected.message
    value, key = message.value() or b"", as_bytes(message.key())
    own, added = own_headers(message), refusal_headers(rejected)
    if sum(len(name) + len(content or b"") for name, content in own) > STUB_BYTES:
        own = []
    facts = {"value.bytes": str(len(value)), "value.sha256": hashlib.sha256(value).hexdigest()}
    if key is not None and len(key) > STUB_BYTES:
        facts["key.bytes"], key = str(len(key)), None
    added += [(PREFIX + name, fact.encode()) for name, fact in facts.items()]
    return Letter(value[:STUB_BYTES], key, own + added, cut=True)


def as_bytes(content: str | bytes | None) -> bytes | None:
    """A key or a header's value as it travels."""
    return content.encode() if isinstance(content, str) else content


class DeadLetters:
    """Sends refused messages and waits for the broker's word on each."""

    def __init__(self, settings: Settings, client: str) -> None:
        self._producer = kafka.producer(settings, client, queue_buffering_max_kbytes=65_536)

    def send(self, letters: Sequence[Rejected], *, waiting: Callable[[], bool]) -> list[Rejected]:
        """Send and wait; give back those the broker did not take. Blocks.

        ``waiting`` is called every few seconds; False ends the wait, and what is unanswered counts as not taken.
        """
        open_letters = dict(enumerate(letters))
        failed: list[Rejected] = []
        too_large: list[int] = []

        def callback(number: int, cut: bool) -> Callable[[KafkaError | None, Message], None]:
            def note(error: KafkaError | None, _message: Message) -> None:
                if error is not None and error.code() == KafkaError.MSG_SIZE_TOO_LARGE and not cut:
                    too_large.append(number)
                    return
                rejected = open_letters.pop(number, None)
                if error is not None and rejected is not None:
                    failed.append(rejected)

            return note

        for number, rejected in enumerate(letters):
            if not self._produce(rejected, letter(rejected), callback(number, cut=False)):
                too_large.append(number)
        while open_letters:
            while too_large:
                number = too_large.pop()
                self._produce(letters[number], stub(letters[number]), callback(number, cut=True))
            self._producer.flush(FLUSH_S)
            if open_letters and not too_large and not waiting():
                break
        return failed + list(open_letters.values())

    def _produce(
        self, rejected: Rejected, content: Letter, callback: Callable[[KafkaError | None, Message], None]
    ) -> bool:
        """Hand one letter to the producer; False where it is too large to be sent as it is."""
        topic = BY_NAME[rejected.message.topic() or ""].dlq
        try:
            kafka.hand_over(
                self._producer, topic, content.value, content.key, headers=content.headers, on_delivery=callback
            )
            return True
        except KafkaException as error:
            if content.cut or error.args[0].code() != KafkaError.MSG_SIZE_TOO_LARGE:
                raise
            return False
