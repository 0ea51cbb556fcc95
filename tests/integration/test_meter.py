"""The meter against a real broker: partials without gap or overlap, whatever happens to the process."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import msgspec
import pytest

from tests.integration.role_process import Role, environment_of
from tests.unit.sink.samples import full
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.codec import Decoder, encode
from tidemill.events import Partial, Partials, PartitionProgress, Progress
from tidemill.ids import uuid7
from tidemill.io.kafka import follower, producer, read_to_end
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK, PARTIALS, REQUESTS, RESPONSES, Topic, partition_of

NOW_MS = 1_763_800_000_000
SOURCES = (REQUESTS, RESPONSES, FEEDBACK)
PIPELINES = ("schedule", "support", "unknown-to-the-settings")
Places = dict[tuple[str, int, str], list[Partial]]


@pytest.fixture
def empty(settings: Settings, fresh_topics: None) -> Settings:
    return settings


def meter(settings: Settings) -> Role:
    return Role("meter", settings, environment_of(settings))


def send(settings: Settings, topic: Topic, count: int, start: int = 0) -> None:
    """Events of three pipelines over two minutes of event time, and one malformed message in a hundred."""
    made = producer(settings, "test-meter")
    sample = full(topic.event)
    for number in range(start, start + count):
        call = uuid7(NOW_MS, number.to_bytes(10, "big"))
        fields = {"call_id": call, "pipeline": PIPELINES[number % 3], "time_ms": NOW_MS + number * 10 % 120_000}
        if topic is RESPONSES:
            fields["answer_id"] = call
        if topic is FEEDBACK:
            fields |= {"feedback_id": f"f{number}", "metric": "exact_match", "score": float(number % 2)}
        value = encode(msgspec.structs.replace(sample, **fields))
        made.produce(topic.name, value if number % 100 else value[:-3], call)
        made.poll(0)
    assert made.flush(60) == 0


def said(settings: Settings) -> tuple[Places, list[Progress]]:
    """Distinct partials by place in order, and all progress messages. Replays must be equal to the byte."""
    reader = follower(settings, "test-meter", PARTIALS)
    raw: dict[tuple[str, int, str, int, int], bytes] = {}
    found: Places = {}
    progress: list[Progress] = []
    decode: Decoder[Partials | Progress] = PARTIALS.decoder()
    for message in read_to_end(reader):
        event = decode(message.value() or b"")
        assert message.key() is None
        if isinstance(event, Progress):
            progress.append(event)
            continue
        for one in event.partials:
            assert message.partition() == partition_of(one.pipeline, PARTIALS.partitions)
            value, name = encode(one), (one.topic, one.partition, one.pipeline, one.lo, one.hi)
            assert raw.setdefault(name, value) == value, "a replayed partial differs"
            if raw[name] is value:
                found.setdefault(name[:3], []).append(one)
    reader.close()
    return found, progress


def counted(found: Places, topic: Topic) -> int:
    """Events in the partials of a topic; fails on an overlap."""
    total = 0
    for (name, _, _), partials in found.items():
        if name != topic.name:
            continue
        for one, two in pairwise(sorted(partials, key=lambda p: p.lo)):
            assert one.hi < two.lo, f"overlap: {one.lo}-{one.hi} and {two.lo}-{two.hi}"
        for one in partials:
            if topic is REQUESTS:
                total += sum(cell.requests for cell in one.cells)
            elif topic is RESPONSES:
                total += sum(cell.answers for cell in one.cells)
            else:
                total += len(one.scores) + one.scores_dropped
    return total


def test_killed_again_and_again_partials_have_neither_gap_nor_overlap(empty: Settings) -> None:
    count = 6_000
    with meter(empty).start() as role:
        for part in range(3):
            for topic in SOURCES:
                send(empty, topic, count // 3, start=part * count // 3)
            wanted = part * count // 4
            role.until(partial(more_than, empty, wanted), within_s=60, every_s=0.3, what="more answers")
            role.kill()
            role.start()
        restarted_ms = SystemClock().now_ms()
        good = count - count // 100
        # The pipeline that the settings do not know has no quality metric, so no scores.
        scored = good - sum(1 for n in range(count) if n % 3 == 2 and n % 100)
        wanted_of = {REQUESTS: good, RESPONSES: good, FEEDBACK: scored}
        role.until(
            lambda: all(counted(said(empty)[0], topic) >= wanted for topic, wanted in wanted_of.items()),
            within_s=60,
            every_s=0.5,
            what="all events",
        )
        role.until(
            lambda: idle(said(empty)[1], restarted_ms),
            within_s=60,
            every_s=0.5,
            what="progress says idle for every partition",
        )
    found, _ = said(empty)
    assert {topic: counted(found, topic) for topic in SOURCES} == wanted_of
    assert {place[2] for place in found} == set(PIPELINES)


def more_than(settings: Settings, wanted: int) -> bool:
    """Whether the partials hold more answers than that."""
    return counted(said(settings)[0], RESPONSES) > wanted


def idle(progress: list[Progress], since_ms: int) -> bool:
    """Whether the last word on every source partition, said since then, is: read to the end."""
    last: dict[tuple[str, int], PartitionProgress] = {}
    for one in sorted((p for p in progress if p.time_ms >= since_ms), key=lambda p: p.time_ms):
        assert one.source_partitions == sum(topic.partitions for topic in SOURCES)
        last.update({(p.topic, p.partition): p for p in one.partitions})
    return len(last) == sum(topic.partitions for topic in SOURCES) and all(p.position == p.end for p in last.values())


def test_progress_goes_to_every_partition_also_when_nothing_happens(
    empty: Settings, unique: Callable[[str], str]
) -> None:
    with meter(empty).start() as role:
        role.ready()
        reader = follower(empty, unique("progress"), PARTIALS)
        seen: set[int] = set()

        def everywhere() -> bool:
            seen.update(m.partition() or 0 for m in reader.consume(100, 0.2) if m.error() is None)
            return seen == set(range(PARTIALS.partitions))

        until(everywhere, what="progress on every partition")
        reader.close()
        assert role.stop() == 0
