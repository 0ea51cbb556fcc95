"""The public streams are the published ones, and known detectors find there what was published."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.drift_streams import (
    CAPYMOA,
    MOA_ADWIN,
    SEEDS,
    Detector,
    JavaRandom,
    abrupt,
    capymoa,
    find,
    gradual,
    score,
)
from streams.detectors.bounded import Bounded
from streams.detectors.conformal import Conformal
from streams.detectors.second_opinions import SecondOpinion


def test_chance_is_javas() -> None:
    assert JavaRandom(42).next_double() == 0.7275636800328681
    assert JavaRandom(0).next_double() == 0.730967787376657


def test_adwin_alarms_at_the_very_bit_where_moas_does() -> None:
    for kind, make in (("abrupt", abrupt), ("gradual", gradual)):
        delays = [find(SecondOpinion("adwin"), make(seed)).delay for seed in SEEDS]
        assert delays == [int(delay) for delay in MOA_ADWIN[kind].split()]


def test_capymoas_stream_is_the_one_that_its_detectors_were_run_on() -> None:
    """MOA's own rules, as short as they are, alarm where CapyMOA's detectors do; river's ADWIN does, too."""
    stream = capymoa()
    assert set(stream.values[: stream.change - 1]) == {0, 1}
    assert set(stream.values[stream.change - 1 :]) == {6, 7, 8, 9, 10, 11}
    assert _moa(stream.values, forgets=0.9999, least=-float("inf")) == CAPYMOA["PageHinkley"]
    assert _moa(stream.values, forgets=1, least=0) == CAPYMOA["CUSUM"]
    assert _first(SecondOpinion("adwin")) == CAPYMOA["ADWIN"] == 1_024


def test_river_takes_page_hinkley_for_what_is_moas_cusum() -> None:
    assert _first(SecondOpinion("page_hinkley")) == CAPYMOA["CUSUM"] != CAPYMOA["PageHinkley"]


@pytest.mark.parametrize("seed", range(10))
def test_ours_alarm_on_capymoas_stream_before_its_adwin_and_never_before_the_change(seed: int) -> None:
    for detector in (Conformal(1e5, seed=seed), Conformal(1e5, "up", seed)):
        assert 1_006 <= _first(detector) <= 1_008


def _first(detector: Detector) -> int:
    """The value of CapyMOA's stream, from 1, at which it alarms first; there is no alarm before the change."""
    found = find(detector, capymoa())
    assert found.false == 0 and found.delay is not None
    return capymoa().change + found.delay


def _moa(values: list[float], forgets: float, least: float) -> int:
    """MOA's PageHinkleyDM and CusumDM with their defaults: the sum of what is above the mean so far passes 50."""
    mean = total = 0.0
    for n, value in enumerate(values, 1):
        mean += (value - mean) / n
        total = max(least, forgets * total + value - mean - 0.005)
        if n >= 30 and total > 50:
            return n
    raise AssertionError("no alarm")


def test_other_detectors_of_river_have_their_published_delays() -> None:
    streams = [abrupt(seed) for seed in SEEDS]
    for name, delay in (("hddm_a", 22.27), ("hddm_w", 12.0), ("page_hinkley", 75.83)):
        assert score(lambda name=name: SecondOpinion(name), streams).delay == pytest.approx(delay, abs=0.005)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "delays", "false"),
    [(lambda: Bounded(1e5, high=0.25), (17.5, 280), 0), (lambda: Conformal(1e5), (27, 230), 0.1)],
    ids=["bounded", "conformal"],
)
def test_ours_are_as_quick_as_they_should_be(
    make: Callable[[], Detector], delays: tuple[float, float], false: float
) -> None:
    for kind, delay in zip((abrupt, gradual), delays, strict=True):
        found = score(make, [kind(seed) for seed in SEEDS])
        assert found.found == 30
        assert found.delay is not None
        assert found.delay <= delay
        assert found.false <= false
