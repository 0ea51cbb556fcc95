"""Falls of quality are found fast, rises and calm never alarm, and the state survives a restart exactly."""

from __future__ import annotations

import random
from collections.abc import Iterable

import msgspec
import pytest

from streams.alarms import Transition
from streams.detectors.adwin import Adwin
from streams.detectors.quality import QualityDetector, QualityState
from tests.unit.streams.drawing import START_MS, score
from tidemill.codec import encode
from tidemill.settings import QualitySettings

SETTINGS = QualitySettings()
PER_SECOND = 5


def feed(
    detector: QualityDetector, values: Iterable[float], start: int = 0, call_delay_s: float = 0.0
) -> list[tuple[int, Transition]]:
    """Transitions by the index of the score that brought them; five scores a second."""
    found = []
    for index, value in enumerate(values, start):
        at_s = index / PER_SECOND
        transition = detector.update(score(at_s, value, call_s=at_s - call_delay_s))
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
        found = feed(QualityDetector("p", SETTINGS), bernoulli(seed, (before, 300), (after, 200)))
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
    alarms = sum(len(feed(QualityDetector("p", SETTINGS), bernoulli(seed, (0.9, 2_000)))) for seed in range(20))
    assert alarms <= 1


def test_a_rise_is_no_alarm() -> None:
    for seed in range(10):
        assert feed(QualityDetector("p", SETTINGS), bernoulli(seed, (0.3, 300), (0.95, 600))) == []


def test_a_small_fall_is_no_alarm() -> None:
    settings = QualitySettings(min_drop=0.2)
    for seed in range(3):
        assert feed(QualityDetector("p", settings), bernoulli(seed, (0.95, 1_000), (0.85, 1_500))) == []


def test_small_falls_add_up() -> None:
    settings = QualitySettings(min_drop=0.15)
    steps = ((1.0, 600), (0.9, 800), (0.8, 800), (0.7, 800))
    found = feed(QualityDetector("p", settings), bernoulli(3, *steps))
    assert [transition.state for _, transition in found][:1] == ["firing"]
    assert found[0][1].alarm.reference == pytest.approx(1.0, abs=0.06)


def test_it_resolves_when_quality_is_back_and_then_starts_anew() -> None:
    detector = QualityDetector("p", SETTINGS)
    values = bernoulli(1, (0.95, 300), (0.2, 200), (0.95, 400), (0.2, 200))
    found = feed(detector, values)
    assert [transition.state for _, transition in found] == ["firing", "resolved", "firing"]
    (first, fired), (second, resolved), (third, again) = found
    assert 300 <= first < 360 and 500 < second < 620 and 900 <= third < 960
    assert resolved.alarm == fired.alarm, "the resolved alarm is the one that fired"
    assert again.alarm.alarm_id != fired.alarm.alarm_id
    assert resolved.value is not None and resolved.value >= fired.alarm.threshold


def test_it_does_not_resolve_while_quality_stays_low() -> None:
    found = feed(QualityDetector("p", SETTINGS), bernoulli(2, (0.95, 300), (0.3, 2_000)))
    assert [transition.state for _, transition in found] == ["firing"]


def test_the_change_is_told_in_call_time() -> None:
    found = feed(QualityDetector("p", SETTINGS), [1.0] * 200 + [0.0] * 60, call_delay_s=30)
    (_, transition), *_ = found
    assert transition.alarm.change_time_ms == START_MS + 40_000 - 30_000


def test_the_change_is_found_when_labels_come_out_of_order() -> None:
    chance = random.Random(4)
    detector = QualityDetector("p", SETTINGS)
    points = []
    for index in range(400):
        call_s = index / PER_SECOND
        value = float(index < 250)
        points.append(score(call_s + chance.uniform(0, 20), value, call_s=call_s, feedback_id=str(index)))
    found = [t for p in sorted(points, key=lambda p: p.time_ms) if (t := detector.update(p))]
    assert found[0].alarm.change_time_ms == pytest.approx(START_MS + 50_000, abs=1_500)


def test_a_restart_anywhere_changes_nothing() -> None:
    values = bernoulli(5, (0.95, 250), (0.3, 150), (0.95, 200))
    whole = feed(QualityDetector("p", SETTINGS), values)
    detector, found = QualityDetector("p", SETTINGS), []
    for start in range(0, len(values), 37):
        found += feed(detector, values[start : start + 37], start)
        raw = encode(detector.snapshot())
        detector = QualityDetector("p", SETTINGS, msgspec.json.decode(raw, type=QualityState))
    assert found == whole
    assert [t.state for _, t in whole] == ["firing", "resolved"]


def test_the_state_is_bounded() -> None:
    detector = QualityDetector("p", SETTINGS)
    feed(detector, bernoulli(6, (0.9, 20_000)))
    assert len(encode(detector.snapshot())) < 20_000


def test_a_state_made_with_other_parameters_starts_anew() -> None:
    adwin = Adwin(0.002)
    for value in bernoulli(7, (0.9, 100)):
        adwin.update(value)
    assert Adwin(0.002, adwin.snapshot()).width == 100
    assert Adwin(0.01, adwin.snapshot()).width == 0
