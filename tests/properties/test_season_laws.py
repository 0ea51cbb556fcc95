"""Laws of the season and of naming who has changed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.alarms import Found, Transition
from streams.detectors.baseline import Measured
from streams.detectors.e_bh import changed
from streams.detectors.quality import QualityDetector, QualityState
from streams.detectors.season import LIMIT, Season, SeasonState
from streams.detectors.watch import Watch, Where
from tests.unit.streams.drawing import score
from tidemill.settings import QualitySettings

VALUES = st.lists(st.sampled_from([0.0, 0.2, 0.25, 0.9, 1.0, 7.0]), min_size=1, max_size=400)
STEP_MS = 420_000
"""Some eight values an hour: 400 values are two days."""
WEALTH = st.dictionaries(st.integers(0, 30), st.floats(0, 1e6), max_size=12)


def run(season: Season, values: list[float], begin: int = 0) -> list[float | None]:
    return [season.update(value, (begin + n) * STEP_MS) for n, value in enumerate(values)]


@given(before=VALUES, after=VALUES)
def test_a_season_made_from_a_snapshot_goes_on_exactly(before: list[float], after: list[float]) -> None:
    first, second = Season("day", 3), Season("day", 3)
    run(first, before)
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.snapshot()), type=SeasonState))
    assert run(first, after, len(before)) == run(second, after, len(before))
    assert first.snapshot() == second.snapshot()


def judged(watch: Watch, values: list[float], begin: int) -> tuple[Watch, list[Found]]:
    """What is said of a batch of 25 each few minutes, on a budget that is soon used up."""
    said = []
    for n, value in enumerate(values, begin):
        at = n * STEP_MS
        where = Where("p", "error_rate", at, at + STEP_MS, 5.0, season="day")
        said.append(watch.take(Measured(25, value, at), where, 1.0))
    return watch, said


@given(before=VALUES, after=VALUES)
def test_a_watch_with_a_season_goes_on_exactly_from_its_bytes(before: list[float], after: list[float]) -> None:
    first, _ = judged(Watch(), before * 2, 0)
    second = msgspec.msgpack.decode(msgspec.msgpack.encode(first), type=Watch)
    (one, said), (two, again) = (judged(watch, after, 2 * len(before)) for watch in (first, second))
    assert said == again
    assert msgspec.msgpack.encode(one) == msgspec.msgpack.encode(two)


def scored(detector: QualityDetector, values: list[float], begin: int) -> list[Transition | None]:
    points = (score((begin + n) * STEP_MS / 1000, min(1.0, value)) for n, value in enumerate(values))
    return [told for point in points for told in (detector.update(point, 1.0), detector.warn(point.time_ms))]


@given(before=VALUES, after=VALUES)
def test_quality_with_a_season_goes_on_exactly_from_its_bytes(before: list[float], after: list[float]) -> None:
    def made(state: QualityState | None = None) -> QualityDetector:
        return QualityDetector("p", QualitySettings(), 5.0, state, "day")

    first = made()
    scored(first, before * 2, 0)
    second = made(msgspec.msgpack.decode(msgspec.msgpack.encode(first.snapshot()), type=QualityState))
    assert scored(first, after, 2 * len(before)) == scored(second, after, 2 * len(before))
    assert first.snapshot() == second.snapshot()


@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=400))
def test_a_residual_is_missing_or_within_its_limit(values: list[float]) -> None:
    assert all(z is None or -LIMIT <= z <= LIMIT for z in run(Season("day"), values * 2))


@given(values=VALUES, scale=st.floats(0.01, 100), offset=st.floats(-100, 100))
def test_the_unit_of_the_values_does_not_matter(values: list[float], scale: float, offset: float) -> None:
    noisy = [value + 0.1 * (n % 7) for n, value in enumerate(values * 2)]
    for one, other in zip(
        run(Season("day"), noisy), run(Season("day"), [scale * x + offset for x in noisy]), strict=True
    ):
        assert one == (other if other is None else pytest.approx(other, rel=1e-4, abs=1e-4))


@given(wealth=WEALTH, run_length=st.floats(1, 1e5))
def test_the_named_are_the_most_that_the_rule_allows(wealth: dict[int, float], run_length: float) -> None:
    named = changed(wealth, run_length)
    ordered = sorted(wealth.values(), reverse=True)
    assert len(named) == max((k for k, r in enumerate(ordered, 1) if r * k >= run_length), default=0)
    assert sorted((wealth[name] for name in named), reverse=True) == ordered[: len(named)]
    assert {name for name, r in wealth.items() if r >= run_length} <= set(named)


@given(wealth=WEALTH, run_length=st.floats(1, 1e5), who=st.integers(0, 30), more=st.floats(1, 1e6))
def test_more_wealth_of_one_takes_nobody_out(
    wealth: dict[int, float], run_length: float, who: int, more: float
) -> None:
    richer = wealth | {who: wealth.get(who, 0.0) + more}
    assert len(changed(richer, run_length)) >= len(changed(wealth, run_length))
