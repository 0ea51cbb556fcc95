"""Stage 2 as users run it: partials in, windows and threshold events out, also when it is killed in the middle."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.integration.role_process import Role, environment_of
from tests.unit.streams.drawing import START_MS, START_S, Meter, Reader, answers, requests, score
from tests.waiting import until
from tidemill import topics
from tidemill.codec import encode
from tidemill.events import Partial, Progress, ThresholdEvent, Window
from tidemill.io import kafka as clients
from tidemill.io.topic_admin import ensure_topics
from tidemill.local.ports import free_port_base
from tidemill.settings import Settings

Key = tuple[str, str, str, str, str, int, int]
Said = tuple[Partial | Progress, int]
SECONDS = 150
CHANGE_S = 80


def story(meter: Meter, partition: int = 0) -> list[Said]:
    """Five calls a second; quality falls from 1.0 to 0.0 and errors rise at CHANGE_S. Each with its partition."""
    said: list[Partial | Progress] = []
    for second in range(SECONDS):
        bad = second >= CHANGE_S
        scores = [score(second + i / 5, 0.0 if bad else 1.0, feedback_id=f"{second}-{i}") for i in range(5)]
        cells = [requests(second, 5), answers(second, [100.0] * 5, errors=4 if bad else 0, quality=[1.0] * 5)]
        said += [meter.partial(cells, scores), meter.progress(second + 1)]
    return [(message, partition) for message in (*said, meter.progress(SECONDS + 5))]


@pytest.fixture
def deployment(
    stack_settings: Settings, kafka: str, fresh_topics: None, unique: Callable[[str], str]
) -> Iterator[Settings]:
    """The demo's settings under a deployment name of its own (so: a group and a changelog of its own)."""
    settings = stack_settings.model_copy(update={"deployment": unique("streams")})
    yield settings
    forget(settings)


def forget(settings: Settings) -> None:
    """Delete the changelog: nobody else knows it, and ``empty_topics`` cannot empty a compacted topic."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    own = [name for name in admin.list_topics(timeout=20).topics if settings.deployment in name]
    for future in admin.delete_topics(own).values() if own else ():
        future.result()


def test_windows_and_threshold_events(deployment: Settings) -> None:
    with _streams(deployment) as role:
        send(deployment, story(Meter()))
        events = role.until(lambda: _at_least(read_events(deployment), 2), what="two alarms")
        end_ms = START_MS + SECONDS * 1000
        windows = role.until(lambda: _reaching(read_windows(deployment), end_ms), what="the last window")
        role.ready(within_s=120)
        assert role.stop() == 0
    by_rule = {event.data.rule: event.data for event in events}
    assert set(by_rule) == {"quality", "errors"}
    assert by_rule["quality"].change_time_ms == START_MS + CHANGE_S * 1000
    assert by_rule["quality"].summary.startswith("schedule: quality (exact_match) fell from 1.00 to 0.00 since")
    assert len(windows) == len({_key(row) for row in windows}), "no row twice in a clean run"
    traffic = {row.start_ms: row.value for row in windows if row.metric == "requests"}
    assert traffic == {START_MS + s * 1000: 25.0 for s in range(0, SECONDS, 5)}


def test_killed_in_the_middle_it_says_the_same_once(
    deployment: Settings, stack_settings: Settings, unique: Callable[[str], str]
) -> None:
    told = story(Meter())
    half = len(told) * 7 // 10  # quality has fallen; the alarm is about to fire, or has just done so
    with _streams(deployment) as role:
        role.ready(within_s=120)
        send(deployment, told[:half])
        role.until(lambda: read_windows(deployment), what="the first windows")
        role.kill()
        send(deployment, told[half:])
        role.start()
        end_ms = START_MS + SECONDS * 1000
        role.until(
            lambda: _reaching(read_windows(deployment), end_ms), within_s=240, what="the last window", revive=True
        )
        assert role.stop() == 0
    as_a_clean_run(deployment)


def test_two_workers_and_a_rebalance_in_the_middle_say_the_same(deployment: Settings, tmp_path: Path) -> None:
    """One worker has both partitions; a second joins, and dies. Each partition tells a pipeline of its own."""
    told = [story(Meter(), partition=0), story(Meter("support"), partition=1)]
    third = len(told[0]) // 3
    cuts = ((0, third), (third, 2 * third), (2 * third, None))
    parts = [[said for one in told for said in one[begin:end]] for begin, end in cuts]
    other = deployment.model_copy(
        update={
            "data_dir": tmp_path,
            "local": deployment.local.model_copy(update={"port_base": free_port_base()}),
        }
    )
    there = environment_of(other) | {"TIDEMILL_KAFKA__BOOTSTRAP": deployment.kafka_bootstrap}
    with _streams(deployment) as first, Role("streams", other, there).start() as second:
        first.ready(within_s=120)
        send(deployment, parts[0])
        first.until(lambda: read_windows(deployment), what="the first windows")
        second.ready(within_s=120)
        send(deployment, parts[1])
        second.until(lambda: worked(second) and worked(first), within_s=120, what="both work", every_s=0.5)
        second.kill()
        send(deployment, parts[2])
        end_ms = START_MS + SECONDS * 1000
        first.until(
            lambda: all(
                _reaching([row for row in read_windows(deployment) if row.pipeline == name], end_ms)
                for name in ("schedule", "support")
            ),
            within_s=240,
            every_s=0.5,
            what="the last windows",
            revive=True,
        )
        assert first.stop() == 0
    as_a_clean_run(deployment)


def test_everything_comes_back_from_the_changelog(deployment: Settings, tmp_path: Path) -> None:
    """A worker without its predecessor's files goes on from the states it wrote, not from the beginning."""
    told = story(Meter())
    half = len(told) * 7 // 10
    with _streams(deployment) as role:
        send(deployment, told[:half])
        role.until(lambda: committed(deployment) > 100, what="a checkpoint", every_s=0.5)
        role.kill()
    from_ms = max(row.start_ms for row in read_windows(deployment))
    moved = deployment.model_copy(update={"data_dir": tmp_path})
    with _streams(moved) as role:
        role.ready(within_s=120)
        send(deployment, told[half:])
        end_ms = START_MS + SECONDS * 1000
        role.until(lambda: _reaching(read_windows(deployment), end_ms), within_s=240, what="the last window")
        assert role.stop() == 0
    assert from_ms > START_MS
    as_a_clean_run(deployment)


def test_a_topic_made_anew_under_a_running_worker_is_read_from_its_beginning(deployment: Settings) -> None:
    told = story(Meter())
    half = len(told) // 2
    with _streams(deployment) as role:
        send(deployment, told[:half])
        role.until(lambda: committed(deployment) >= half - 1, within_s=120, what="a checkpoint of all", every_s=0.5)
        made_anew(deployment, topics.PARTIALS)
        send(deployment, told[half:])
        end_ms = START_MS + SECONDS * 1000
        role.until(
            lambda: _reaching(read_windows(deployment), end_ms), within_s=240, what="the last window", revive=True
        )
        assert role.stop() == 0
    calls = {(row.start_ms, row.value) for row in read_windows(deployment) if row.metric == "requests"}
    assert calls == {(START_MS + s * 1000, 25.0) for s in range(0, SECONDS, 5)}


def test_without_states_a_worker_goes_on_at_the_committed_offset(deployment: Settings) -> None:
    """As after an upgrade: the group has come far, and the table is a new one."""
    told = story(Meter())
    half = len(told) // 2
    send(deployment, told[:half])
    group = clients.consumer(deployment, "test-before", f"tidemill-streams-{deployment.deployment}")
    _, end = group.get_watermark_offsets(TopicPartition(topics.PARTIALS.name, 0), timeout=20)
    group.commit(offsets=[TopicPartition(topics.PARTIALS.name, 0, end)], asynchronous=False)
    group.close()
    with _streams(deployment) as role:
        role.ready(within_s=120)
        send(deployment, told[half:])
        end_ms = START_MS + SECONDS * 1000
        role.until(lambda: _reaching(read_windows(deployment), end_ms), within_s=240, what="the last window")
        assert role.stop() == 0
    assert min(row.start_ms for row in read_windows(deployment)) == START_MS + (half // 2) // 5 * 5_000


def test_a_pipeline_that_gave_its_place_back_leaves_the_changelog(deployment: Settings, tmp_path: Path) -> None:
    windows = deployment.windows.model_copy(update={"max_unknown_pipelines": 1})
    settings = deployment.model_copy(update={"windows": windows})
    bound = {"TIDEMILL_WINDOWS__MAX_UNKNOWN_PIPELINES": "1"}
    days, meter = 2 * 86_400, Meter()
    junk, ours = Meter("junk"), Meter("ours")
    told: list[Partial | Progress] = [junk.partial([requests(1, 1)]), meter.progress(60), meter.progress(days)]
    with Role("streams", settings, environment_of(settings) | bound).start() as role:
        send(settings, [(message, 0) for message in told])
        role.until(lambda: b"0/junk" in states(settings), what="its state")
        send(settings, [(ours.partial([requests(days, 3)]), 0), (meter.progress(days + 60), 0)])
        role.until(lambda: states(settings).keys() == {b"0/", b"0/ours"}, what="its place is another's", every_s=0.5)
        assert role.stop() == 0
    moved = settings.model_copy(update={"data_dir": tmp_path})
    with Role("streams", moved, environment_of(moved) | bound).start() as role:
        role.ready(within_s=120)
        send(settings, [(ours.partial([requests(days + 70, 4)]), 0), (meter.progress(days + 90), 0)])
        role.until(lambda: 4 in {row.value for row in read_windows(settings)}, what="it goes on")
        assert role.stop() == 0
    assert {row.pipeline for row in read_windows(settings) if row.start_ms >= START_MS + days * 1000} == {"ours"}


def states(settings: Settings) -> dict[bytes, bytes]:
    """What the changelog holds of partition 0."""
    name = f"tidemill-streams-{settings.deployment}-states-changelog"
    reader = clients.consumer(settings, "test-states", "test-states")
    try:
        place = TopicPartition(name, 0)
        if name not in reader.list_topics(timeout=20).topics:
            return {}
        low, end = reader.get_watermark_offsets(place, timeout=20)
        reader.assign([TopicPartition(name, 0, low)])
        found: dict[bytes, bytes | None] = {}
        at = low
        while at < end:
            message = reader.poll(10)
            assert message is not None and message.error() is None
            found[message.key() or b""] = message.value()
            at = (message.offset() or 0) + 1
        return {key: value for key, value in found.items() if value is not None}
    finally:
        reader.close()


def made_anew(settings: Settings, topic: topics.Topic) -> None:
    """Delete a topic and make it again."""
    admin = AdminClient({"bootstrap.servers": settings.kafka_bootstrap})
    admin.delete_topics([topic.name])[topic.name].result()
    until(lambda: topic.name not in admin.list_topics(timeout=10).topics, what="the topic is gone")
    until(lambda: topic.name in ensure_topics(settings), what="the topic is there")


def as_a_clean_run(settings: Settings) -> None:
    """Rows and events are those of the pure fold over the same log, each at least once, and none is different."""
    clean = [Reader(settings) for _ in range(topics.PARTIALS.partitions)]
    windows: dict[Key, Window] = {}
    events: dict[str, ThresholdEvent] = {}
    decode = topics.PARTIALS.decoder()
    for message in _messages(settings, topics.PARTIALS):
        reader = clean[message.partition() or 0]
        out = reader.read(decode(message.value()), message.offset() or 0, message.timestamp()[1])
        windows |= {_key(row): row for row in out.windows}
        events |= {event.id: event for event in out.events}
    assert events, "the story has alarms"
    said = read_windows(settings)
    differing = [(row, windows.get(_key(row))) for row in said if windows.get(_key(row)) != row]
    assert not differing, f"{len(differing)} rows differ, first: {differing[0]}"
    assert {_key(row) for row in said} == set(windows)
    told = read_events(settings)
    assert [event for event in told if events.get(event.id) != event] == []
    assert {event.id for event in told} == set(events)


def worked(role: Role) -> bool:
    """Whether the role has applied partials, as it says itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{role.settings.port('streams')}/metrics", timeout=5) as answer:
        return b'tidemill_streams_partials_total{outcome="applied"}' in answer.read()


def committed(settings: Settings) -> int:
    """Offset from which a worker would begin in partition 0."""
    group = clients.consumer(settings, "test-looker", f"tidemill-streams-{settings.deployment}")
    try:
        (place,) = group.committed([TopicPartition(topics.PARTIALS.name, 0)], timeout=20)
        low, _ = group.get_watermark_offsets(place, timeout=20)
        return int(place.offset - low)
    finally:
        group.close()


def send(settings: Settings, messages: Sequence[Said]) -> None:
    producer = clients.producer(settings, "test-meter")
    for message, partition in messages:
        producer.produce(topics.PARTIALS.name, encode(message), partition=partition)
    assert producer.flush(20) == 0


def read_windows(settings: Settings) -> list[Window]:
    return [topics.WINDOWS.decoder()(message.value()) for message in _messages(settings, topics.WINDOWS)]


def read_events(settings: Settings) -> list[ThresholdEvent]:
    return [topics.THRESHOLDS.decoder()(message.value()) for message in _messages(settings, topics.THRESHOLDS)]


def _messages(settings: Settings, topic: topics.Topic) -> list[Message]:
    follower = clients.follower(settings, "test-reader", topic)
    try:
        return list(clients.read_to_end(follower))
    finally:
        follower.close()


def _streams(settings: Settings) -> Role:
    return Role("streams", settings, environment_of(settings)).start()


def _at_least(events: list[ThresholdEvent], n: int) -> list[ThresholdEvent]:
    return events if len(events) >= n else []


def _reaching(windows: list[Window], end_ms: int) -> list[Window]:
    return windows if any(row.end_ms >= end_ms for row in windows) else []


def _key(row: Window) -> Key:
    return (row.pipeline, row.model_version, row.variant, row.role, row.metric, row.start_ms, row.revision)


assert START_S % 5 == 0, "windows of the demo start on the story's first second"
