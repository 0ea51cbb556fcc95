"""Falls of quality are found fast, rises and calm never alarm, and the state survives a restart exactly."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest

from streams.alarms import Transition
from streams.detectors.quality import STILL_GONE, QualityDetector, QualityState
from tests.unit.streams.drawing import START_MS, score
from tidemill.codec import encode
from tidemill.settings import QualitySettings

SETTINGS = QualitySettings()
PER_SECOND = 5
RUN_LENGTH = 604_800.0
MASS = 0.05 / PER_SECOND
"""What one of some twenty series is granted for a score."""


def watching(settings: QualitySettings = SETTINGS, state: QualityState | None = None) -> QualityDetector:
    return QualityDetector("p", settings, RUN_LENGTH, state)


def feed(
    detector: QualityDetector, values: Iterable[float], start: int = 0, call_delay_s: float = 0.0
) -> list[tuple[int, Transition]]:
    """Transitions by the index of the score that brought them; five scores a second."""
    found = []
    for index, value in enumerate(values, start):
        at_s = index / PER_SECOND
        transition = detector.update(score(at_s, value, call_s=at_s - call_delay_s), MASS)
        if transition is not None:
            found.append((index, transition))
    return found


def bernoulli(seed: int, *levels: tuple[float, int]) -> list[float]:
    chance = random.Random(seed)
    return [float(chance.random() < level) for level, n in levels for _ in range(n)]


@pytest.mark.parametrize(("before", "after"), [(0.9, 0.3), (0.97, 0.06)])
def test_a_fall_is_found_within_a_few_scores(before: float, after: float) -> None:
    delays = []
    for seed in range(20):
        found = feed(watching(), bernoulli(seed, (before, 300), (after, 200)))
        assert len(found) >= 1, seed
        index, transition = found[0]
        assert index >= 300, f"seed {seed}: alarm before the change"
        delays.append(index - 299)
        assert transition.state == "firing"
        alarm = transition.alarm
        assert alarm.reference == pytest.approx(before, abs=0.07)
        assert alarm.change_time_ms == pytest.approx(START_MS + 60_000, abs=4_000)
    assert sum(delays) / len(delays) <= 40
    assert max(delays) <= 60


def test_calm_alarms_at_most_once_in_forty_thousand_scores() -> None:
    alarms = sum(len(feed(watching(), bernoulli(seed, (0.9, 2_000)))) for seed in range(20))
    assert alarms <= 1


def test_a_rise_is_no_alarm() -> None:
    for seed in range(10):
        assert feed(watching(), bernoulli(seed, (0.3, 300), (0.95, 600))) == []


def test_a_small_fall_is_no_alarm() -> None:
    settings = QualitySettings(min_drop=0.2)
    for seed in range(3):
        assert feed(watching(settings), bernoulli(seed, (0.95, 1_000), (0.85, 1_500))) == []


def test_small_falls_add_up() -> None:
    settings = QualitySettings(min_drop=0.15)
    steps = ((1.0, 600), (0.9, 800), (0.8, 800), (0.7, 800))
    found = feed(watching(settings), bernoulli(3, *steps))
    assert [transition.state for _, transition in found][:1] == ["firing"]
    assert found[0][1].alarm.reference == pytest.approx(1.0, abs=0.06)


def test_it_resolves_when_quality_is_back_and_then_starts_anew() -> None:
    detector = watching()
    values = bernoulli(1, (0.95, 300), (0.2, 200), (0.95, 400), (0.2, 200))
    found = feed(detector, values)
    assert [transition.state for _, transition in found] == ["firing", "resolved", "firing"]
    (first, fired), (second, resolved), (third, again) = found
    assert 300 <= first < 360 and 500 < second < 760 and 900 <= third < 960
    assert resolved.alarm == fired.alarm, "the resolved alarm is the one that fired"
    assert again.alarm.alarm_id != fired.alarm.alarm_id
    assert resolved.value is not None and resolved.value >= 0.95 - STILL_GONE * 0.75


def test_a_small_fall_that_goes_on_hardly_ever_ends_its_alarm() -> None:
    """The mean of 160 scores at 0.75 varies by 0.03; the alarm ends where they are surely above 0.85."""
    fired, ended = 0, 0
    for seed in range(20):
        found = feed(watching(), bernoulli(seed, (0.9, 600), (0.75, 2_000)))
        fired += any(transition.state == "firing" for _, transition in found)
        ended += any(transition.state == "resolved" for _, transition in found)
    assert fired >= 12 and ended <= 1


def test_who_comes_back_from_far_down_need_not_come_back_all_the_way() -> None:
    found = feed(watching(), bernoulli(1, (0.99, 300), (0.03, 200), (0.92, 600)))
    assert [transition.state for _, transition in found] == ["firing", "resolved"]


def test_it_does_not_resolve_while_quality_stays_low() -> None:
    found = feed(watching(), bernoulli(2, (0.95, 300), (0.3, 2_000)))
    assert [transition.state for _, transition in found] == ["firing"]


def test_the_change_is_told_in_call_time() -> None:
    found = feed(watching(), [1.0] * 200 + [0.0] * 60, call_delay_s=30)
    (_, transition), *_ = found
    assert transition.alarm.change_time_ms == START_MS + 40_000 - 30_000


def test_the_change_is_found_when_labels_come_out_of_order() -> None:
    chance = random.Random(4)
    detector = watching()
    points = []
    for index in range(400):
        call_s = index / PER_SECOND
        value = float(index < 250)
        points.append(score(call_s + chance.uniform(0, 20), value, call_s=call_s, feedback_id=str(index)))
    found = [t for p in sorted(points, key=lambda p: p.time_ms) if (t := detector.update(p, MASS))]
    assert found[0].alarm.change_time_ms == pytest.approx(START_MS + 50_000, abs=1_500)


def test_a_restart_anywhere_changes_nothing() -> None:
    values = bernoulli(5, (0.95, 250), (0.3, 150), (0.95, 200))
    whole = feed(watching(), values)
    detector, found = watching(), []
    for start in range(0, len(values), 37):
        found += feed(detector, values[start : start + 37], start)
        raw = encode(detector.snapshot())
        detector = watching(state=msgspec.json.decode(raw, type=QualityState))
    assert found == whole
    assert [t.state for _, t in whole] == ["firing", "resolved"]


def test_the_state_is_bounded() -> None:
    detector = watching()
    feed(detector, bernoulli(6, (0.9, 20_000)))
    assert len(encode(detector.snapshot())) < 20_000


def test_an_alarm_shows_its_evidence_and_the_interval_holds_the_change() -> None:
    held = 0
    for seed in range(40):
        (_, fired), *_ = feed(watching(), bernoulli(seed, (0.9, 300), (0.3, 200)))
        alarm = fired.alarm
        assert alarm.statistic is not None and alarm.statistic >= RUN_LENGTH == alarm.statistic_limit
        assert alarm.change_from_ms is not None and alarm.change_until_ms is not None
        assert alarm.change_time_ms is not None
        assert alarm.change_from_ms < alarm.change_time_ms <= alarm.change_until_ms
        held += alarm.change_from_ms <= START_MS + 60_000 <= alarm.change_until_ms
    assert held >= 34


def waves(seed: int, n: int) -> list[float]:
    """Scores that keep to their mean over a long time, and hang together like those of one user's calls in a row."""
    chance = random.Random(seed)
    found: list[float] = []
    for _ in range(n):
        again = bool(found) and chance.random() < 0.8
        found.append(found[-1] if again else float(chance.random() < 0.7))
    return found


def test_scores_that_depend_on_each_other_are_warned_of_and_alarms_say_so() -> None:
    detector, told = watching(), []
    for index, value in enumerate(waves(1, 2_000)):
        at_s = index / PER_SECOND
        for found in (detector.update(score(at_s, value), MASS), detector.warn(START_MS + round(at_s * 1000))):
            if found is not None:
                told.append(found)
    warned = next(t for t in told if t.alarm.warning and t.state == "firing")
    assert "depend on those before them" in warned.alarm.warning
    assert warned.value is not None and warned.value > 0.3
    later = [t for t in told[told.index(warned) + 1 :] if t.state == "firing"]
    assert all("depend on those before them" in t.alarm.warning for t in later)


@pytest.mark.parametrize("levels", [((0.9, 3_000),), ((0.9, 300), (0.3, 300))])
def test_independent_scores_are_not_warned_of(levels: tuple[tuple[float, int], ...]) -> None:
    for seed in range(20):
        detector = watching()
        for index, value in enumerate(bernoulli(seed, *levels)):
            detector.update(score(index / PER_SECOND, value), MASS)
            assert detector.warn(index) is None, seed
