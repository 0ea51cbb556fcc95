"""Stage 2 as users run it: partials in, windows and threshold events out, also when it is killed in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest
from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from tests.integration.role_process import Role, environment_of
from tests.unit.streams.drawing import START_MS, START_S, Meter, answers, requests, score
from tidemill import topics
from tidemill.codec import encode
from tidemill.events import Partial, Progress, ThresholdEvent, Window
from tidemill.io import kafka as clients
from tidemill.settings import Settings

Key = tuple[str, str, str, str, int, int]
SECONDS = 150
CHANGE_S = 80


def story(meter: Meter) -> list[Partial | Progress]:
    """Five calls a second; quality falls from 1.0 to 0.0 and errors rise at CHANGE_S."""
    said: list[Partial | Progress] = []
    for second in range(SECONDS):
        bad = second >= CHANGE_S
        scores = [score(second + i / 5, 0.0 if bad else 1.0, feedback_id=f"{second}-{i}") for i in range(5)]
        cells = [requests(second, 5), answers(second, [100.0] * 5, errors=4 if bad else 0, quality=[1.0] * 5)]
        said += [meter.partial(cells, scores), meter.progress(second + 1)]
    return [*said, meter.progress(SECONDS + 5)]


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
    windows, events = read_windows(deployment), read_events(deployment)
    assert sorted(event.data.rule for event in events) == ["errors", "quality"]
    rows = {_key(row): row for row in windows}
    assert all(rows[_key(row)] == row for row in windows), "a repeated row is the same row"
    clean = clean_run(told, deployment)
    assert rows == {_key(row): row for row in clean}


def clean_run(told: Sequence[Partial | Progress], settings: Settings) -> list[Window]:
    """What the pure fold says to the same messages without any trouble."""
    from streams.partition import PartitionFold

    fold = PartitionFold(settings, {})
    return [row for message in told for row in fold.take(message).windows]


def send(settings: Settings, messages: Sequence[Partial | Progress]) -> None:
    producer = clients.producer(settings, "test-meter")
    for message in messages:
        value = encode(message)
        if isinstance(message, Partial):
            producer.produce(topics.PARTIALS.name, value, key=message.pipeline, partition=0)
        else:
            for partition in range(topics.PARTIALS.partitions):
                producer.produce(topics.PARTIALS.name, value, partition=partition)
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
    return (row.model_version, row.variant, row.role, row.metric, row.start_ms, row.revision)


assert START_S % 5 == 0, "windows of the demo start on the story's first second"
