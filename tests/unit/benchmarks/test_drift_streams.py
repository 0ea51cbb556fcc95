"""The public streams are the published ones, and known detectors find there what was published."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from benchmarks.drift_streams import MOA_ADWIN, SEEDS, Detector, JavaRandom, abrupt, find, gradual, score
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
