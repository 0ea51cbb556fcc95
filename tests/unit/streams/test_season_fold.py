"""A pipeline with a season through the fold: scores, whole traffic and slices; its state, and what is said of it."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import pi, sin

import msgspec
import pytest
from prometheus_client import REGISTRY

from streams.app.measures import Measures
from tests.unit.streams.drawing import START_MS, START_S, Meter, Reader, deployment, of_slice, requests, score
from tidemill.clock import ManualClock
from tidemill.events import Partial, Progress, ThresholdEvent
from tidemill.settings import Settings

WINDOW_S, DAY_S = 300, 86_400
A_DAY = DAY_S // WINDOW_S
GAUGE = "tidemill_streams_waiting_series"


def settings(season: str = "day") -> Settings:
    return deployment(size_s=WINDOW_S, season=season, slices=["tenant"], drift={"metrics": ["input_chars"]})


class Days:
    """A window of calls of two tenants and of scores after the other; all of them move with the hour."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.meter = Meter()
        self.window = 0

    def messages(
        self, windows: int, fall: float = 0.0, globex: float = 1.0, ahead_s: int = 0
    ) -> Iterator[Partial | Progress]:
        """``ahead_s``: by how much all clocks are ahead."""
        for _ in range(windows):
            at_s = self.window * WINDOW_S + ahead_s
            wave = sin(2 * pi * (START_S + at_s - ahead_s) / DAY_S)
            cells = [
                requests(at_s + 1, 25, chars=[self.chance.gauss(1, 0.3) * times * (60 + 25 * wave) for _ in range(25)])
                for times in (1.0, globex)
            ]
            slices = [of_slice(f"tenant={name}", cell) for name, cell in zip(("acme", "globex"), cells, strict=True)]
            points = [
                score(at_s + 20 * n, float(self.chance.random() < 0.75 + 0.2 * wave - fall), feedback_id=f"{at_s}-{n}")
                for n in range(15)
            ]
            yield self.meter.partial(cells, points, slices=slices)
            self.window += 1
            yield self.meter.progress(self.window * WINDOW_S + ahead_s + 1)


def rules(events: list[ThresholdEvent]) -> set[tuple[str, str]]:
    return {(event.data.rule, event.data.slice) for event in events if event.data.state == "firing"}


def test_the_daily_wave_alarms_without_a_season_and_not_with_one() -> None:
    days = [*Days(1).messages(4 * A_DAY)]
    assert rules(Reader(settings("none")).take(*days).events) >= {
        ("quality", ""),
        ("drift_input_chars", ""),
        ("drift_input_chars", "tenant=acme"),
    }
    assert Reader(settings()).take(*days).events == []


def test_what_really_changes_on_the_third_day_is_told_in_its_own_unit() -> None:
    reader, days = Reader(settings()), Days(2)
    assert reader.take(*days.messages(2 * A_DAY + 150)).events == []
    events = reader.take(*days.messages(36, fall=0.35, globex=1.5)).events
    found = {(event.data.rule, event.data.slice): event.data for event in events}
    assert found.keys() >= {("quality", ""), ("drift_input_chars", "tenant=globex")}
    assert ("drift_input_chars", "tenant=acme") not in found
    for data in found.values():
        assert data.reason == "compared with what its hour of the day is usually like"
        assert data.detector == "conformal"
        assert "(usual for this hour of the day) to" in data.summary
    quality, chars = found["quality", ""], found["drift_input_chars", "tenant=globex"]
    assert 0.5 < (quality.reference or 0) < 1.0 and (quality.value or 1) < (quality.reference or 0) - 0.1
    assert 40 < (chars.reference or 0) < 90 and (chars.value or 0) > (chars.reference or 0)


@pytest.mark.parametrize("every", [97, 383])
def test_a_restart_anywhere_changes_no_event_and_no_byte(every: int) -> None:
    days = Days(3)
    messages = [*days.messages(2 * A_DAY + 150), *days.messages(60, fall=0.35, globex=1.5), *days.messages(60)]
    whole, parts, said = Reader(settings()), Reader(settings()), []
    wanted = whole.take(*messages).events
    for begin in range(0, len(messages), every):
        said += parts.take(*messages[begin : begin + every]).events
        parts = Reader(settings(), dict(parts.fold.changed()), parts.offset)
    assert {event.data.state for event in wanted} == {"firing", "resolved"}
    assert said == wanted
    parts.take(last := days.meter.partial([requests(days.window * WINDOW_S, 1)]))
    whole.take(last)
    states = [dict(reader.fold.changed())["schedule"] for reader in (whole, parts)]
    assert states[0] == states[1]


def test_another_season_in_the_settings_begins_anew_and_ends_notices() -> None:
    reader, days, said = Reader(settings("none")), Days(4), []
    open_ones: dict[str, str] = {}
    while not any(rule.startswith("drift_") for rule in open_ones.values()):
        for event in reader.take(*days.messages(1)).events:
            if event.data.state == "firing":
                open_ones[event.data.alarm_id] = event.data.rule
            else:
                open_ones.pop(event.data.alarm_id)
    notices = {alarm_id for alarm_id, rule in open_ones.items() if rule.startswith("drift_")}
    for season in ("day", "week", "none", "day"):
        reader = Reader(settings(season), dict(reader.fold.changed()), reader.offset)
        said += reader.take(*days.messages(3)).events
    closed = {e.data.alarm_id for e in said if "season was set anew" in e.data.reason}
    assert closed == notices
    assert reader.take(*days.messages(A_DAY // 2)).events == [], "its first day"


def test_a_state_of_before_seasons_goes_on_with_one() -> None:
    reader, days = Reader(settings("none")), Days(5)
    reader.take(*days.messages(40))
    states = dict(reader.fold.changed())
    parts = msgspec.msgpack.decode(states["schedule"][8:], strict=False)
    states["schedule"] = states["schedule"][:8] + msgspec.msgpack.encode([4, *parts[1:]])
    again = Reader(settings(), states, reader.offset)
    assert rules(again.take(*days.messages(3 * A_DAY)).events) == set()
    (fold,) = again.fold
    assert fold.quality.season == "day"


def test_the_series_that_know_too_little_of_their_hour_are_seen_in_prometheus() -> None:
    measures = Measures(ManualClock(START_MS))

    def seen(reader: Reader) -> float | None:
        measures.stepped(1, {0: reader.fold})
        return REGISTRY.get_sample_value(GAUGE, {"pipeline": "schedule"})

    reader, days = Reader(settings()), Days(6)
    reader.take(*days.messages(20))
    assert seen(reader) == 1 + 1 + 2, "quality, the whole, two slices"
    reader = Reader(settings(), dict(reader.fold.changed()), reader.offset)
    assert seen(reader) == 4, "at once after a restart"
    reader.take(*days.messages(A_DAY))
    assert seen(reader) == 0
    assert seen(Reader(settings("none"), dict(reader.fold.changed()), reader.offset)) is None


def test_after_a_clock_that_was_ahead_hours_are_compared_with_themselves_again() -> None:
    days, reader = Days(1), Reader(settings())
    reader.take(*days.messages(4 * A_DAY + A_DAY // 2))
    reader.take(*days.messages(6, ahead_s=DAY_S // 2))
    now_s = days.window * WINDOW_S
    reader.take(*(days.meter.progress(now_s + second) for second in range(1, 12)))
    assert reader.fold.watermark_ms < START_MS + (now_s + WINDOW_S) * 1000, "it is right again"
    reader.take(*days.messages(A_DAY // 24))  # what the step itself began ends
    assert rules(reader.take(*days.messages(A_DAY)).events) == set()
    (fold,) = reader.fold
    assert fold.waiting == 0
