"""The laws of alert delivery hold while silences are added and expired, over crashes and dead receivers."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from consumers.alerts.outbox import SETTLE_MS
from tests.properties.test_alert_delivery_laws import PIPELINES, STEPS, WAYS, S, World, keeps_the_law, policy
from tidemill.cli.silence import expired
from tidemill.codec import encode
from tidemill.events import Silence
from tidemill.settings.alerting import AlertSettings
from tidemill.silences import Mutes, Silences


@dataclass
class Log:
    """The topic of silences."""

    records: list[tuple[int, Silence]] = field(default_factory=list)
    compacted: bool = False

    def add(self, pipeline: str, lasts_s: int, now_ms: int) -> None:
        made = Silence(
            silence_id=f"{len(self.records)}",
            match={"pipeline": pipeline},
            start_ms=now_ms,
            end_ms=now_ms + lasts_s * S,
            comment="works",
            created_by="ada",
        )
        self.records.append((now_ms, made))

    def expire(self, which: int, now_ms: int) -> None:
        """As the command does it: the whole record once more, with the beginning as it was seen."""
        found = [each for each in self.table().all() if each.state(now_ms) != "ended"]
        if found:
            chosen = found[which % len(found)]
            self.records.append((now_ms, expired(chosen)))

    def table(self) -> Silences:
        last = {one.silence_id: index for index, (_, one) in enumerate(self.records)}
        table = Silences()
        for index, (at_ms, one) in enumerate(self.records):
            if not self.compacted or last[one.silence_id] == index:
                table.take(one.silence_id.encode(), encode(one), at_ms)
        return table

    def spans(self, pipeline: str) -> list[tuple[int, int]]:
        """When alarms of a pipeline are muted, with hindsight."""
        all_ = self.table().all()
        return [
            (each.since_ms, each.until_ms)
            for each in all_
            if each.silence.match["pipeline"] == pipeline and each.since_ms < each.until_ms
        ]


class Silenced(World):
    """A world whose delivery learns of each silence at once, or, after a crash, reads them all first."""

    def __init__(self, way: tuple[tuple[str, ...], int, int, int]) -> None:
        self.log = Log()
        super().__init__(policy(*way, {}))

    def _start(self) -> None:
        super()._start()
        self.log.compacted = not self.log.compacted
        self.learn()

    def do(self, step: tuple[str, int]) -> None:
        if step[0] == "silence":
            self.log.add(PIPELINES[step[1] % 2], 1 + step[1], self.now_ms)
            self.learn()
        elif step[0] == "expire":
            self.log.expire(step[1], self.now_ms)
            self.learn()
        else:
            super().do(step)

    def learn(self) -> None:
        self._outbox.remute(Mutes(AlertSettings(), self.log.table().all()).until, self.now_ms)


STORIES = st.lists(
    st.one_of(
        STEPS,
        st.tuples(st.just("silence"), st.integers(0, 1_500)),
        st.tuples(st.just("expire"), st.integers(0, 5)),
    ),
    min_size=8,
    max_size=60,
)


@settings(max_examples=250)
@given(WAYS, STORIES)
def test_no_alarm_is_lost_and_none_told_under_another_id(
    way: tuple[tuple[str, ...], int, int, int], story: list[tuple[str, int]]
) -> None:
    world = Silenced(way)
    for step in story:
        world.do(step)
    world.finish()
    keeps_the_law(world, way, world.log.spans)


@settings(max_examples=250)
@given(WAYS, STORIES)
def test_what_was_lived_through_is_what_a_restart_reads(
    way: tuple[tuple[str, ...], int, int, int], story: list[tuple[str, int]]
) -> None:
    """One learns of each silence as it comes and looks often; another reads all of it in the end: the same news."""
    often, once = (Silenced(way) for _ in range(2))
    for step in story:
        if step[0] not in ("fire", "end", "wait", "silence", "expire"):
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
    once.do(("crash", 0))
    for world in (often, once):
        world.run()
        world.now_ms += SETTLE_MS
        world.run()
    news = [{(name, told) for name, told, news in world.heard if news} for world in (often, once)]
    assert news[0] == news[1]
    assert {name for name, _, _ in once.heard} <= {name for name, _, _ in often.heard}
