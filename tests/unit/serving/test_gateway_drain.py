"""The drain: no trouble ends it but a Stop, no single record holds it up, and the health page knows."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from serving.gateway import drain
from serving.gateway.drain import Drainer, Envelope, limit, pack
from serving.gateway.main import say_readiness
from serving.gateway.spool import Spool
from tests.waiting import until
from tidemill.errors import Stop
from tidemill.io import kafka
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK, REQUESTS


class Broker:
    """Takes everything, in the place of both Kafka clients."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []
        self.committed_offset = -1001
        self.moved_to: list[int] = []

    def produce(self, _topic: str, value: bytes, _key: bytes | None, **_: Any) -> None:
        self.taken.append(value)

    def committed(self, slots: list[Any], **_: Any) -> list[Any]:
        return [SimpleNamespace(error=None, offset=self.committed_offset)]

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> None:
        assert not asynchronous
        self.moved_to += [each.offset for each in offsets]

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_, **__: None


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    made = Broker()
    monkeypatch.setattr(kafka, "producer", lambda *_, **__: made)
    monkeypatch.setattr(kafka, "consumer", lambda *_, **__: made)
    monkeypatch.setattr(drain, "FIRST_WAIT_S", 0.01)
    return made


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path, 1 << 24, new_id=lambda: "spool")


def record(value: bytes, topic: str = REQUESTS.name) -> bytes:
    return pack(Envelope(topic, "key", value))


def test_records_that_can_never_go_out_are_set_aside_and_the_others_go(broker: Broker, spool: Spool) -> None:
    large = b"x" * limit(REQUESTS.name)
    spool.append(
        [
            record(b"one"),
            b"no message",
            record(large),
            record(large, FEEDBACK.dlq),
            record(b"x", "elsewhere"),
            record(b"two"),
        ]
    )
    drainer = Drainer(Settings(), spool)
    drainer.start()
    assert drainer.stop(5)
    assert broker.taken == [b"one", large, b"two"]
    assert len(list((spool._folder / "quarantine").glob("*.bin"))) == 3


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many open files"), ValueError("a surprise")])
def test_an_unforeseen_error_is_said_once_and_tried_again(
    broker: Broker, spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    spool.append([record(b"one")])
    sound, broken = spool.read, [True]

    def read(*args: Any) -> Any:
        if broken:
            raise error
        return sound(*args)

    monkeypatch.setattr(spool, "read", read)
    drainer = Drainer(Settings(), spool)
    drainer.start()
    until(lambda: drainer._failures >= 3, within_s=5, what="three tries")
    assert drainer.trouble is not None and str(error) in drainer.trouble
    service = Readiness()
    say_readiness(service, KNOWN, drainer)  # type: ignore[arg-type]
    assert service.said == [drainer.trouble]
    broken.clear()
    until(lambda: drainer.trouble is None, within_s=5, what="it goes on")
    say_readiness(service, KNOWN, drainer)  # type: ignore[arg-type]
    assert service.said[-1] == "ready"
    assert drainer.stop(5) and broker.taken == [b"one"]
    assert len([r for r in caplog.records if "draining stopped" in r.message]) == 1


def test_kafka_away_is_no_trouble_the_spool_is_there_for_that(broker: Broker, spool: Spool) -> None:
    drainer = Drainer(Settings(), spool)
    drainer._stopping.set()
    drainer._failed(KafkaException("away"))
    assert drainer.trouble is None


def test_what_kafka_refuses_is_told_with_its_reason_by_log_and_health_page(
    broker: Broker, spool: Spool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    refused = [KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)]
    sound = broker.produce

    def produce(topic: str, value: bytes, key: bytes | None, *, on_delivery: Callable[..., None], **_: Any) -> None:
        sound(topic, value, key)
        if refused:
            on_delivery(refused[0], None)

    def commit(_: float) -> None:
        if refused:
            raise KafkaException(KafkaError(KafkaError._INCONSISTENT, "1 message(s) failed delivery"))

    monkeypatch.setattr(broker, "produce", produce)
    monkeypatch.setattr(broker, "commit_transaction", commit, raising=False)
    spool.append([record(b"one")])
    drainer, service = Drainer(Settings(), spool), Readiness()
    drainer.start()
    until(lambda: drainer.trouble, within_s=5, what="the trouble is told")
    say_readiness(service, KNOWN, drainer)  # type: ignore[arg-type]
    assert "TOPIC_AUTHORIZATION_FAILED" in str(service.said)
    assert len([r for r in caplog.records if "TOPIC_AUTHORIZATION_FAILED" in r.getMessage()]) == 1
    refused.clear()
    until(lambda: drainer.trouble is None, within_s=5, what="it goes on")
    assert drainer.stop(5)


@pytest.mark.parametrize("code", [KafkaError._MSG_TIMED_OUT, KafkaError._TRANSPORT, KafkaError.NOT_COORDINATOR])
def test_a_broker_away_is_no_refusal_however_often(broker: Broker, spool: Spool, code: int) -> None:
    drainer = Drainer(Settings(), spool)
    for _ in range(3):
        drainer._stopping.set()
        drainer._failed(KafkaException(KafkaError(code)))
        assert drainer.trouble is None


def test_one_refusal_of_a_fenced_session_is_no_trouble_yet(broker: Broker, spool: Spool) -> None:
    drainer = Drainer(Settings(), spool)
    drainer._stopping.set()
    drainer._failed(KafkaException(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH)))
    assert drainer.trouble is None


def test_a_stop_ends_the_thread_and_the_process(broker: Broker, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: Any) -> Any:
        raise Stop("the spool is gone")

    spool.append([record(b"one")])
    monkeypatch.setattr(spool, "read", read)
    drainer = Drainer(Settings(), spool)
    drainer.start()
    drainer.join(5)
    with pytest.raises(Stop, match="carries events to Kafka has ended: the spool is gone"):
        say_readiness(Readiness(), KNOWN, drainer)  # type: ignore[arg-type]


KNOWN = SimpleNamespace(known=True)


class Readiness:
    """What the health page would say."""

    stopping = False

    def __init__(self) -> None:
        self.said: list[str | None] = []

    def ready(self) -> None:
        self.said.append("ready")

    def waiting(self, reason: str) -> None:
        self.said.append(reason)


def test_records_that_a_power_cut_took_make_kafka_skip_none_of_the_new_ones(broker: Broker, tmp_path: Path) -> None:
    broker.committed_offset = 10_000
    spool = Spool(tmp_path, 1 << 24, new_id=lambda: "spool")
    spool.append([record(b"x" * 20_000), record(b"two")])  # appended before Kafka could be asked
    drainer = Drainer(Settings(), spool)
    drainer.start()
    assert drainer.stop(5)
    assert broker.taken == [b"x" * 20_000, b"two"]
    assert broker.moved_to == [0]


def test_what_this_process_sent_is_not_taken_for_a_lost_tail(spool: Spool, broker: Broker) -> None:
    drainer = Drainer(Settings(), spool)
    assert drainer._believed(broker, -1001) == -1001
    spool.append([record(b"one")])
    assert drainer._believed(broker, spool.end) == spool.end
    assert broker.moved_to == []
