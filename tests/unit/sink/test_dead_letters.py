"""Dead letters: as they were where they fit, as a stub where nothing takes them whole."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Message

from consumers.deadletters import bury
from consumers.deadletters.bury import STUB_BYTES, DeadLetters, Rejected, letter, stub
from tidemill.io import kafka
from tidemill.io.letters import PREFIX
from tidemill.settings import Settings
from tidemill.topics import MAX_DLQ_MESSAGE_BYTES, MAX_MESSAGE_BYTES, REQUESTS

HUGE = b"[" * (MAX_DLQ_MESSAGE_BYTES + 1)
Callback = Callable[[KafkaError | None, Any], None]


def rejected(value: bytes | None, key: bytes | None = b"k", own: list[tuple[str, bytes]] | None = None) -> Rejected:
    message = Message(
        topic=REQUESTS.name, partition=1, offset=7, value=value, key=key, headers=own or [("trace", b"t")]
    )
    return Rejected(message, "json: not finished", "decode")


class Broker:
    """A producer over a broker that takes values up to ``most`` bytes and says no only when asked to flush."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken: list[dict[str, Any]] = []
        self._open: list[tuple[dict[str, Any], Callback]] = []

    def produce(self, topic: str, *, on_delivery: Callback, **sent: Any) -> None:
        self._open.append((sent | {"topic": topic}, on_delivery))

    def poll(self, _: float) -> int:
        return 0

    def flush(self, _: float) -> int:
        waiting, self._open = self._open, []
        for sent, answer in waiting:
            if len(sent["value"] or b"") > self.most:
                answer(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE), None)
            else:
                self.taken.append(sent)
                answer(None, None)
        return 0


def sending(monkeypatch: pytest.MonkeyPatch, producer: Any) -> DeadLetters:
    monkeypatch.setattr(kafka, "producer", lambda *_, **__: producer)
    return DeadLetters(Settings(), "test")


def test_a_letter_is_the_message_as_it_was() -> None:
    assert letter(rejected(None))[:2] == (None, b"k")


def test_a_stub_says_what_it_was() -> None:
    made = stub(rejected(HUGE))
    said = dict(made.headers)
    assert made.value == HUGE[:STUB_BYTES] and made.key == b"k" and said["trace"] == b"t"
    assert said[PREFIX + "value.bytes"] == str(len(HUGE)).encode()
    assert said[PREFIX + "value.sha256"] == hashlib.sha256(HUGE).hexdigest().encode()
    assert said[PREFIX + "exception.message"] == b"json: not finished"


def test_a_stub_is_small_whatever_was_large() -> None:
    made = stub(rejected(b"x", key=HUGE, own=[("trace", HUGE)]))
    assert made.key is None and "trace" not in dict(made.headers)
    assert dict(made.headers)[PREFIX + "key.bytes"] == str(len(HUGE)).encode()


def test_a_message_the_broker_finds_too_large_is_buried_as_a_stub(monkeypatch: pytest.MonkeyPatch) -> None:
    broker = Broker(most=MAX_MESSAGE_BYTES)
    letters = [rejected(b"{"), rejected(HUGE), rejected(b"}")]
    assert sending(monkeypatch, broker).send(letters, waiting=lambda: True) == []
    assert sorted(len(sent["value"]) for sent in broker.taken) == [1, 1, STUB_BYTES]
    assert {sent["topic"] for sent in broker.taken} == {REQUESTS.dlq}


def test_a_stub_that_is_not_taken_counts_as_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = rejected(HUGE)
    assert sending(monkeypatch, Broker(most=10)).send([huge], waiting=lambda: True) == [huge]


def test_a_message_the_producer_finds_too_large_raises_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bury, "FLUSH_S", 0.01)
    huge = rejected(HUGE)
    offline = DeadLetters(Settings(), "test")
    assert offline.send([huge], waiting=lambda: False) == [huge]


def test_another_trouble_of_the_producer_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fenced(Broker):
        def produce(self, topic: str, *, on_delivery: Callback, **sent: Any) -> None:
            raise KafkaException(KafkaError(KafkaError._FATAL))

    with pytest.raises(KafkaException):
        sending(monkeypatch, Fenced(most=10)).send([rejected(b"x")], waiting=lambda: True)
