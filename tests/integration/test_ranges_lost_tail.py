"""A broker that lost the tails of its logs in a power cut: what comes in their place is handed out, each once."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from prometheus_client import REGISTRY

from tests.integration.conftest import ROOT
from tests.waiting import until
from tidemill.errors import Retry
from tidemill.io.kafka import consumer
from tidemill.io.ranges import Intent, Range, RangeConsumer
from tidemill.io.topic_admin import topic_ids
from tidemill.local.plan import embedded_stack
from tidemill.local.ports import free_port_base
from tidemill.local.process import Children
from tidemill.settings import Settings, load_settings

TOPICS = ("closed", "running", "pending", "unknown", "short")
OLD, CUT, NEW = 100, 50, 80


class Broker:
    """One that can be killed, and loses half of every log with it."""

    def __init__(self, settings: Settings, children: Children) -> None:
        self.settings, self._children = settings, children
        self._process = embedded_stack(settings, ["kafka"])[0]
        if self._process.before is not None:
            self._process.before()
        self.start()

    def start(self) -> None:
        self._started = self._children.start(self._process, self.settings.data_dir / "kafka.log")
        probe = self._process.probe
        until(lambda: probe is None or probe() is None, within_s=120, what="the broker is ready")

    def cut(self) -> None:
        self._started.kill()
        self._started.wait()
        data = self.settings.data_dir / "kafka" / "data"
        for topic in TOPICS:
            (log,) = (data / f"{topic}-0").glob("*.log")
            with log.open("r+b") as written:
                written.truncate(log.stat().st_size * CUT // OLD)
            for kind in ("*.index", "*.timeindex", "*.snapshot"):
                for other in log.parent.glob(kind):
                    other.unlink()
        for checkpoint in ("recovery-point-offset-checkpoint", "replication-offset-checkpoint"):
            (data / checkpoint).write_text("0\n0\n")
        self.start()

    def fill(self, topic: str, name: str, count: int) -> None:
        """One batch a message, all of the same size."""
        made = Producer({"bootstrap.servers": self.settings.kafka_bootstrap, "batch.num.messages": 1, "linger.ms": 0})
        for number in range(count):
            made.produce(
                topic, f"{name}{number:05d}", on_delivery=lambda error, _: pytest.fail(str(error)) if error else 0
            )
        assert made.flush(30) == 0


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    moved = {"TIDEMILL_DATA_DIR": str(tmp_path), "TIDEMILL_LOCAL__PORT_BASE": str(free_port_base())}
    children = Children()
    try:
        yield Broker(load_settings(ROOT / "tidemill.yaml", moved), children)
    finally:
        children.close()


class Owner:
    """A member that notes what it was given."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self.settings = settings
        self.ranges: list[Range] = []
        self.member = RangeConsumer(settings, "t", f"g-{topic}", [topic], 20, 0.2)

    def poll(self, *, leave_open: int | None = None) -> list[str]:
        """All messages so far; the range that begins at ``leave_open`` stays open."""
        try:
            found = self.member.poll()
        except Retry:
            return self.messages
        for span in found:
            assert self.member.holds(span)
            self.ranges.append(span)
            if span.lo != leave_open:
                self.member.done(span)
        return self.messages

    @property
    def messages(self) -> list[str]:
        return [(message.value() or b"").decode() for span in self.ranges for message in span.messages]


def expected(name: str, numbers: range) -> list[str]:
    return [f"{name}{number:05d}" for number in numbers]


def committed(settings: Settings, topic: str) -> tuple[int, Intent | None]:
    asking = consumer(settings, "asking", f"g-{topic}")
    try:
        found = asking.committed([TopicPartition(topic, 0)], timeout=10)[0]
        return found.offset, Intent.decode(found.metadata)
    finally:
        asking.close()


def has(owner: Owner, count: int) -> bool:
    return len(owner.poll()) >= count


def position(owner: Owner) -> int | None:
    owner.poll()
    return next((each.position for each in owner.member.positions()), None)


def is_behind(owner: Owner, topic: str, offset: int) -> bool:
    owner.poll()
    return committed(owner.settings, topic)[0] == offset


def test_what_comes_in_the_place_of_a_lost_tail_is_handed_out(broker: Broker) -> None:
    settings = broker.settings
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    for made in admin.create_topics([NewTopic(topic, 1, 1) for topic in TOPICS]).values():
        made.result()
    for topic in TOPICS:
        broker.fill(topic, "old", OLD)
    ids = topic_ids(settings, list(TOPICS))

    before = {topic: Owner(settings, topic) for topic in ("closed", "running", "pending", "short")}
    for topic, owner in before.items():
        open_at = 40 if topic == "pending" else None
        count = 60 if topic == "pending" else OLD

        def has_all(owner: Owner = owner, open_at: int | None = open_at, count: int = count) -> bool:
            return len(owner.poll(leave_open=open_at)) >= count

        until(has_all, what=f"everything of {topic}")
        if topic != "running":
            owner.member.close()
    running = before["running"]
    until(lambda: running.poll() and committed(settings, "running")[0] == OLD, what="an idle commit")
    for topic in ("closed", "running", "short"):
        offset, note = committed(settings, topic)
        assert offset == OLD and note is not None and note.le >= 0
    offset, note = committed(settings, "pending")
    assert (offset, note and note.h) == (40, 59)
    by_hand = consumer(settings, "by-hand", "g-unknown")
    by_hand.commit(
        offsets=[TopicPartition("unknown", 0, OLD, Intent(None, ids["unknown"]).encode())], asynchronous=False
    )
    by_hand.close()

    broker.cut()
    for topic in ("closed", "running", "pending"):
        broker.fill(topic, "new", NEW)  # past the committed offset: the end tells nobody anything

    until(lambda: len(running.poll()) >= OLD + NEW, within_s=90, what="the new messages, while running")
    assert running.messages[OLD:] == expected("new", range(NEW))
    after = {topic: Owner(settings, topic) for topic in ("closed", "pending", "unknown", "short")}
    until(lambda: len(after["closed"].poll()) >= NEW, within_s=60, what="the new messages, after a takeover")
    until(
        lambda: len(after["pending"].poll()) >= 10 + NEW, within_s=60, what="what is left of a range, and the new ones"
    )
    for topic in ("unknown", "short"):
        owner = after[topic]
        until(partial(position, owner), within_s=60, what="a takeover")
        assert owner.messages == [] and position(owner) == CUT
        broker.fill(topic, "new", NEW)
        until(partial(has, owner, NEW), within_s=60, what="the new messages, after the end")

    for topic, owner in {**after, "running": running}.items():
        new = [span for span in owner.ranges if span.lo >= CUT and span.epoch]
        assert new[0].lo == CUT and {span.epoch for span in new} == {1}
        assert all(span.again == (span.lo < OLD) for span in new), "compared first"
        assert owner.messages[-NEW:] == expected("new", range(NEW))
        until(partial(is_behind, owner, topic, CUT + NEW), what="an idle commit")
        owner.member.close()
        assert len(owner.messages) == len(set(owner.messages))
    left = after["pending"].ranges[0]
    assert (left.lo, left.hi, left.epoch, left.replayed) == (40, 49, 0, True)
    assert after["pending"].messages[:10] == expected("old", range(40, 50))
    assert REGISTRY.get_sample_value("tidemill_offsets_lost_total", {"topic": "closed", "why": "cut"}) == OLD - CUT

    last = Owner(settings, "closed")
    broker.fill("closed", "newer", 5)
    until(lambda: len(last.poll()) >= 5, within_s=60, what="what came later")
    assert {(span.epoch, span.again) for span in last.ranges} == {(1, False)}, "the epoch stays"
    last.member.close()
