"""Quality that moves with the hour: no alarms of its own making, real falls found, nothing lost over a restart."""

from __future__ import annotations

import random
from collections.abc import Iterator
from math import pi, sin

import msgspec
import pytest
from msgspec import structs

from streams.alarms import Transition
from streams.detectors.quality import QualityDetector, QualityState
from streams.detectors.replayed import with_budget_of
from streams.detectors.season import Period
from tests.unit.streams.drawing import START_MS, deployment, score
from tidemill.events import ScorePoint
from tidemill.settings import QualitySettings

RUN_LENGTH, MASS = 604_800.0, 0.6
EVERY_S, DAY_S = 20, 86_400
FALL_S = 2 * DAY_S + 9 * 3600


def usual(at_s: float) -> float:
    return 0.75 + 0.2 * sin(2 * pi * at_s / DAY_S)


def day_by_day(seed: int, until_s: int, fall: float = 0.0, back_s: int = 10**9, lag_s: int = 0) -> Iterator[ScorePoint]:
    """A score each twenty seconds; from FALL_S to ``back_s`` they are lower by ``fall``."""
    chance = random.Random(seed)
    for at_s in range(0, until_s, EVERY_S):
        mean = usual(at_s) - fall * (FALL_S <= at_s - lag_s < back_s)
        yield score(at_s, float(chance.random() < mean), call_s=at_s - lag_s)


def watching(season: Period | None = "day", state: QualityState | None = None) -> QualityDetector:
    return QualityDetector("p", QualitySettings(), RUN_LENGTH, state, season)


def told(detector: QualityDetector, points: Iterator[ScorePoint]) -> list[Transition]:
    return [found for point in points if (found := detector.update(point, MASS)) is not None]


def test_a_wave_of_the_day_alarms_without_a_season_and_not_with_one() -> None:
    assert len(told(watching(None), day_by_day(1, 4 * DAY_S))) > 2
    for seed in range(4):
        assert told(watching(), day_by_day(seed, 5 * DAY_S)) == []


def test_a_fall_on_the_third_day_is_found_and_told_in_the_unit_of_scores() -> None:
    for seed in range(6):
        found = told(watching(), day_by_day(seed, FALL_S + 3600, fall=0.3, lag_s=60))
        assert [t.state for t in found] == ["firing"], seed
        alarm = found[0].alarm
        assert alarm.season == "day"
        assert alarm.reference == pytest.approx(usual(FALL_S), abs=0.08)
        assert alarm.value == pytest.approx(usual(FALL_S) - 0.3, abs=0.25), "of the few scores since"
        assert alarm.threshold == pytest.approx((alarm.reference or 0) - QualitySettings().min_drop)
        assert alarm.change_time_ms == pytest.approx(START_MS + 1000 * FALL_S, abs=900_000)
        assert alarm.statistic is not None and alarm.statistic >= RUN_LENGTH


def test_a_fall_that_stays_is_not_learnt_and_ends_when_quality_is_what_the_hour_is_like() -> None:
    back_s = FALL_S + 2 * DAY_S + 5 * 3600
    found = told(watching(), day_by_day(3, back_s + 4 * 3600, fall=0.4, back_s=back_s))
    assert [t.state for t in found] == ["firing", "resolved"]
    ended = found[1]
    assert START_MS + 1000 * back_s < ended.start_ms < START_MS + 1000 * (back_s + 3600)
    assert ended.value == pytest.approx(usual(ended.start_ms / 1000 - START_MS / 1000), abs=0.2)


def test_there_is_no_verdict_before_the_hour_is_known_and_that_is_seen() -> None:
    detector = watching()
    assert told(detector, day_by_day(2, DAY_S - 3600)) == [] and detector.waits
    for point in day_by_day(2, DAY_S + 3600):
        if point.time_ms >= START_MS + DAY_S * 1000:
            detector.update(point, MASS)
    assert not detector.waits


@pytest.mark.parametrize(("before", "after"), [(None, "day"), ("day", None), ("day", "week"), ("week", "day")])
def test_another_season_begins_anew(before: Period | None, after: Period | None) -> None:
    detector = watching(before)
    told(detector, day_by_day(4, 9 * 3600))
    again = through_bytes(detector, after)
    state = again.snapshot()
    assert (state.scores, state.held, state.season) == ((), None, after)
    fresh = watching(after).snapshot()
    assert state.hours == fresh.hours
    assert state.conformal is not None and state.conformal.ranks.counts == {}
    assert state.conformal.sums == detector.snapshot().conformal.sums, "its wealth stays"  # type: ignore[union-attr]


def test_an_alarm_that_is_on_ends_by_its_own_threshold_before_another_season_begins() -> None:
    detector = watching(None)
    points = [score(s, 1.0) for s in range(300)] + [score(300 + s, 0.0) for s in range(60)]
    (fired,) = told(detector, iter(points))
    again = through_bytes(detector, "day")
    assert again.alarm == fired.alarm
    (ended,) = told(again, (score(400 + s, 1.0) for s in range(250)))
    assert (ended.state, ended.alarm) == ("resolved", fired.alarm)
    assert again.snapshot().season == "day"


@pytest.mark.parametrize(("since", "alarms"), [(-0.25, True), (0.0, False)])
def test_a_fall_older_than_the_scores_that_are_kept_is_one_though_quality_rose_within_it(
    since: float, alarms: bool
) -> None:
    detector = watching()
    assert told(detector, day_by_day(5, FALL_S)) == []
    state = detector.snapshot()
    assert state.conformal is not None
    about_to_speak = structs.replace(
        state.conformal.sums, sums=tuple(10 * RUN_LENGTH for _ in state.conformal.sums.sums)
    )
    conformal = structs.replace(state.conformal, sums=about_to_speak)
    times = (START_MS + 1000 * FALL_S, *(10 for _ in range(999)))
    kept = structs.replace(state, conformal=conformal, times=times, scores=(-0.5,) * 50 + (since,) * 950)
    found = told(watching("day", kept), iter([score(FALL_S + 20, 1.0)]))
    assert [t.alarm.change_time_ms for t in found] == [START_MS + 1000 * FALL_S + 10] * alarms


def through_bytes(detector: QualityDetector, season: Period | None) -> QualityDetector:
    raw = msgspec.msgpack.encode(detector.snapshot())
    return watching(season, msgspec.msgpack.decode(raw, type=QualityState))


def test_a_replay_goes_by_the_pipelines_season() -> None:
    settings = {season: deployment(season=season) for season in ("none", "day")}
    alarms = {}
    for season, made in settings.items():
        detector = with_budget_of(made, "schedule")("schedule", made.pipelines["schedule"].quality)
        points = day_by_day(5, FALL_S + 3600, fall=0.3)
        alarms[season] = [e for point in points if (e := detector.update(point)) and e.data.state == "firing"]
    assert len(alarms["none"]) > 1
    (alarm,) = alarms["day"]
    assert "(usual for this hour of the day) to 0." in alarm.data.summary
    assert alarm.data.reason == "compared with what its hour of the day is usually like"


def test_the_state_is_bounded() -> None:
    detector = watching("week")
    told(detector, day_by_day(6, 8 * DAY_S))
    assert len(msgspec.msgpack.encode(detector.snapshot())) < 25_000
