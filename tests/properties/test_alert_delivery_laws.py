"""Laws of alert delivery over random stories of alarms, crashes, dead receivers, silences and changed settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.alerts.groups import Policy
from consumers.alerts.outbox import SETTLE_MS, Outbox
from tests.unit.consumers_alerts.test_alert_delivery import event as sample
from tidemill.events import ThresholdEvent

S = 1000
PIPELINES = ("a", "b")
LONG_MS = 100_000 * S
Silence = tuple[int, int]


def event(alarm: str, pipeline: str, state: str, at_ms: int) -> ThresholdEvent:
    made = sample(state)
    data = msgspec.structs.replace(made.data, alarm_id=alarm, pipeline=pipeline)
    return msgspec.structs.replace(made, id=f"{alarm} {state}", data=data, time_ms=at_ms)


def policy(
    group_by: tuple[str, ...], wait: int, interval: int, repeat: int, silences: Mapping[str, Sequence[Silence]]
) -> Policy:
    """Times in seconds; silences by pipeline."""

    def until(labels: Mapping[str, str], at_ms: int) -> int | None:
        ends = [end for start, end in silences.get(labels["pipeline"], ()) if start <= at_ms < end]
        return max(ends, default=None)

    times = (wait * S, interval * S) if group_by else (0, 0)
    return Policy(group_by, *times, repeat_ms=repeat * S, muted_until=until if silences else None)


class World:
    """A topic, a receiver that may be down, and a delivery that may crash. Time stands still until told. The broker's
    clock is ``behind_ms`` behind the reader's.
    """

    def __init__(self, how: Policy, behind_ms: int = 0) -> None:
        self.policy = how
        self._behind_ms = behind_ms
        self.now_ms = 1_000_000 * S
        self.topic: list[tuple[int, ThresholdEvent]] = []
        self.open: list[ThresholdEvent] = []
        self.down = False
        self.heard: list[tuple[str, tuple[str, ...], tuple[int, ...]]] = []
        """Deliveries: id, events, offsets of its news."""
        self.sure: set[int] = set()
        """Offsets that were delivered and committed."""
        self._place = (0, "")
        self._start()

    def _start(self) -> None:
        self._outbox = Outbox(self.policy)
        offset, note = self._place
        self._outbox.open(0, offset, note)
        self._at = offset
        self._delivered: set[int] = set()

    def do(self, step: tuple[str, int]) -> None:
        kind, number = step
        if kind == "fire":
            self._say(event(f"alarm {len(self.topic)}", PIPELINES[number % 2], "firing", self.now_ms))
        elif kind == "end" and self.open:
            begun = self.open.pop(number % len(self.open))
            self._say(event(begun.data.alarm_id, begun.data.pipeline, "resolved", self.now_ms))
        elif kind == "wait":
            self.now_ms += number * S
        elif kind == "crash":
            if number and (pending := self._outbox.next(self.now_ms / S)) is not None and self._outbox.trying(pending):
                self._commit()  # and it was never sent
            self._start()
        elif kind == "receiver":
            self.down = not self.down
        elif kind == "run":
            self.run(commit=bool(number % 2), most=number)

    def _say(self, one: ThresholdEvent) -> None:
        self.topic.append((self.now_ms - self._behind_ms, one))
        if one.data.state == "firing":
            self.open.append(one)

    def run(self, *, commit: bool = True, most: int = 1_000_000) -> None:
        """Read to the end, send at most so many, commit or not."""
        for offset in range(self._at, len(self.topic)):
            at_ms, one = self.topic[offset]
            self._outbox.add(0, offset, one, at_ms)
        self._at = len(self.topic)
        self._outbox.advance(0, self.now_ms)
        while most > 0 and (pending := self._outbox.next(self.now_ms / S)) is not None:
            most -= 1
            if self._outbox.trying(pending):
                self._commit()
            if self.down:
                self._outbox.postpone(pending, self.now_ms / S, 60)
            else:
                told = pending.notification
                assert not self.sure & set(told.news), "told again what was committed"
                self.heard.append((told.id, tuple(one.id for one in told.events), told.news))
                self._delivered.update(told.news)
                self._outbox.settle(pending)
        if commit:
            self._commit()

    def _commit(self) -> None:
        if (place := self._outbox.positions().get(0)) is not None:
            self._place = place
            self.sure |= self._delivered

    def finish(self) -> None:
        """Everything is up again for long enough."""
        self.down = False
        self.run()
        for _ in range(3):
            self.now_ms += LONG_MS
            self.run()

    def first(self, name: str) -> int | None:
        """Which delivery told of that event first."""
        return next((n for n, (_, events, _) in enumerate(self.heard) if name in events), None)

    def told_as_news(self) -> dict[int, set[str]]:
        found: dict[int, set[str]] = {}
        for name, _, news in self.heard:
            for offset in news:
                found.setdefault(offset, set()).add(name)
        return found


STEPS = st.one_of(
    st.tuples(st.just("fire"), st.integers(0, 1)),
    st.tuples(st.just("end"), st.integers(0, 5)),
    st.tuples(st.just("wait"), st.integers(1, 400)),
    st.tuples(st.just("run"), st.integers(0, 7)),
    st.tuples(st.sampled_from(["crash", "receiver"]), st.integers(0, 1)),
)
STORIES = st.lists(STEPS, min_size=8, max_size=60)
SILENCES = st.dictionaries(
    st.sampled_from(PIPELINES),
    st.lists(st.tuples(st.integers(0, 3_000), st.integers(1, 3_000)), min_size=1, max_size=3),
)
WAYS = st.tuples(
    st.sampled_from([(), ("pipeline",), ("pipeline", "alertname")]),
    st.integers(0, 60),
    st.integers(0, 600),
    st.sampled_from([0, 60, 500]),
)


def silences_of(drawn: Mapping[str, Sequence[tuple[int, int]]]) -> dict[str, list[Silence]]:
    begin = 1_000_000 * S
    return {
        name: [(begin + start * S, begin + (start + lasts) * S) for start, lasts in several]
        for name, several in drawn.items()
    }


def loud(silences: Sequence[Silence], start_ms: int, end_ms: int) -> bool:
    """Whether no silence touches that time."""
    return all(end <= start_ms or end_ms < start for start, end in silences)


@settings(max_examples=250)
@given(WAYS, SILENCES, STORIES)
def test_every_alarm_not_muted_is_told_in_order_and_under_one_id(
    way: tuple[tuple[str, ...], int, int, int],
    drawn: dict[str, list[tuple[int, int]]],
    story: list[tuple[str, int]],
) -> None:
    silences = silences_of(drawn)
    world = World(policy(*way, silences))
    for step in story:
        world.do(step)
    world.finish()
    keeps_the_law(world, way, lambda pipeline: silences.get(pipeline, ()))


def keeps_the_law(
    world: World, way: tuple[tuple[str, ...], int, int, int], silences: Callable[[str], Sequence[Silence]]
) -> None:
    """Each alarm that fires unmuted is told, its end after it, one event under one id; what is covered is not told."""
    events: dict[str, tuple[str, ...]] = {}
    for name, told, _ in world.heard:
        assert events.setdefault(name, told) == told, "one id, one content"
    assert all(len(names) == 1 for names in world.told_as_news().values()), "one event, one id"

    patience_ms = max(way[1], way[2]) * S if way[0] else 0
    ended = {one.data.alarm_id: at_ms for at_ms, one in world.topic if one.data.state == "resolved"}
    for at_ms, one in world.topic:
        if one.data.state != "firing":
            continue
        alarm, mutes = one.data.alarm_id, silences(one.data.pipeline)
        begin, end = world.first(f"{alarm} firing"), world.first(f"{alarm} resolved")
        if alarm not in ended or loud(mutes, at_ms, at_ms + patience_ms):
            assert begin is not None, "an alarm that fires unmuted is told of"
        if begin is None:
            assert end is None, "no end without a beginning"
        elif alarm in ended:
            assert end is not None and begin < end, "the end after the beginning"
        covered = any(start <= at_ms and ended.get(alarm, LONG_MS**2) + patience_ms < stop for start, stop in mutes)
        assert not (covered and begin is not None), "what a silence covers is not told of"


@settings(max_examples=250)
@given(st.lists(WAYS, min_size=1, max_size=4), STORIES, st.integers(-20, 20))
def test_neither_changed_settings_nor_a_brokers_clock_that_is_off_lose_an_alarm_or_change_an_id(
    ways: list[tuple[tuple[str, ...], int, int, int]], story: list[tuple[str, int]], behind_s: int
) -> None:
    world, changes = World(policy(*ways[0], {}), behind_s * S), 0
    for step in story:
        if step[0] == "crash":
            changes += 1
            world.policy = policy(*ways[changes % len(ways)], {})
        world.do(step)
    world.finish()
    assert all(world.first(one.id) is not None for _, one in world.topic)
    contents: dict[str, tuple[str, ...]] = {}
    for name, told, _ in world.heard:
        assert contents.setdefault(name, told) == told, "one id, one content"
    assert all(len(names) == 1 for names in world.told_as_news().values()), "one event, one id"
    for _, one in world.topic:
        if one.data.state == "resolved":
            begin, end = world.first(f"{one.data.alarm_id} firing"), world.first(one.id)
            assert begin is not None and end is not None and begin < end


@given(WAYS, SILENCES, STORIES)
def test_when_and_how_often_it_runs_changes_nothing(
    way: tuple[tuple[str, ...], int, int, int],
    drawn: dict[str, list[tuple[int, int]]],
    story: list[tuple[str, int]],
) -> None:
    """The same messages at the same times, looked at often or once in the end: the same notifications."""
    often, once = (World(policy(*way, silences_of(drawn))) for _ in range(2))
    for step in story:
        if step[0] not in ("fire", "end", "wait"):
            continue
        if step[0] == "wait":
            for _ in range(step[1] // 7):
                often.now_ms += 7 * S
                often.run()
            often.now_ms += step[1] % 7 * S
            once.now_ms += step[1] * S
        else:
            often.do(step)
            once.do(step)
            often.run()
    for world in (often, once):
        world.run()
        world.now_ms += SETTLE_MS
        world.run()
    news = [{(name, told) for name, told, news in world.heard if news} for world in (often, once)]
    assert news[0] == news[1]
    assert {name for name, _, _ in once.heard} <= {name for name, _, _ in often.heard}


def test_a_reminder_comes_again_and_again_while_it_fires_and_no_longer() -> None:
    world = World(policy((), 0, 0, 600, {}))
    world.do(("fire", 0))
    for _ in range(1_900):
        world.now_ms += S
        world.run()
    names = [name for name, _, _ in world.heard]
    assert len(names) == len(set(names)) == 4
    world.do(("end", 0))
    for _ in range(1_000):
        world.now_ms += S
        world.run()
    assert len(world.heard) == 5 and world.heard[-1][1] == ("alarm 0 resolved",)


def test_a_long_outage_is_one_reminder() -> None:
    world = World(policy((), 0, 0, 60, {}))
    world.do(("fire", 0))
    world.run()
    world.now_ms += 3_000 * S
    world.do(("crash", 0))
    world.run()
    assert len(world.heard) == 2


def test_an_alarm_that_ended_unheard_shifts_nothing_when_it_is_read_again() -> None:
    way, mutes = (("pipeline",), 0, 2, 0), {"a": [(1_000_000 * S, 1_000_001 * S)]}
    world = World(policy(*way, mutes))
    for step in [("fire", 0), ("fire", 0), ("fire", 0), ("end", 0), ("run", 1), ("wait", 2), ("run", 2), ("crash", 0)]:
        world.do(step)
    world.finish()
    keeps_the_law(world, way, lambda pipeline: mutes.get(pipeline, []))


def test_an_end_is_told_though_a_silence_was_set_over_its_beginning_meanwhile() -> None:
    way = (("pipeline",), 0, 2, 0)
    world = World(policy(*way, {}))
    for step in [("fire", 0), ("run", 7), ("wait", 5), ("end", 0), ("crash", 0)]:
        world.do(step)
    world.policy = policy(*way, {"a": [(1_000_000 * S, 1_000_100 * S)]})
    world.do(("crash", 0))
    world.finish()
    assert world.first("alarm 0 firing") is not None and world.first("alarm 0 resolved") is not None
