"""A detector made anew from its snapshot goes on as the first would have, to the last bit, and its state is bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.detectors.bounded import Bounded
from streams.detectors.budget import Budget, Series
from streams.detectors.conformal import Conformal
from streams.detectors.cusum_chart import CusumChart
from streams.detectors.second_opinions import NAMES, SecondOpinion
from streams.detectors.two_sample import TwoSample

REFERENCE = np.random.default_rng(0).normal(size=(200, 2))
MAKE: dict[str, Callable[[], Any]] = {
    "bounded": lambda: Bounded(50, high=0.3, low=0.1),
    "conformal": lambda: Conformal(50, seed=3),
    "conformal, soon warm": lambda: Conformal(50, warm=8),
    "cusum": lambda: CusumChart(0.5, 0.3),
    "two_sample": lambda: TwoSample(REFERENCE, 50),
    **{name: lambda name=name: SecondOpinion(name) for name in NAMES},  # type: ignore[misc]
}
VALUES = st.lists(st.sampled_from([0.0, 0.2, 0.25, 0.9, 1.0]), min_size=1, max_size=300)


def told(detector: Any, value: float, two: bool) -> tuple[bool, float | None]:
    detector.update(np.array([3 * value, value]) if two else value)
    return detector.drift_detected, getattr(detector, "wealth", None)


def through_bytes(state: Any) -> Any:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=type(state))


@pytest.mark.parametrize("name", MAKE)
@given(before=VALUES, after=VALUES)
def test_it_goes_on_exactly(name: str, before: list[float], after: list[float]) -> None:
    first, second = MAKE[name](), MAKE[name]()
    for value in before:
        told(first, value, name == "two_sample")
    second.restore(through_bytes(first.snapshot()))
    for value in after:
        assert told(first, value, name == "two_sample") == told(second, value, name == "two_sample")
    assert msgspec.msgpack.encode(first.snapshot()) == msgspec.msgpack.encode(second.snapshot())


def test_the_state_does_not_grow_with_the_stream() -> None:
    chance = np.random.default_rng(1)
    detector = Conformal(1e12)
    sizes = []
    for _ in range(2):
        for n, value in enumerate(chance.standard_cauchy(20_000).tolist()):
            detector.update(value, category=n % 7)
        sizes.append(len(msgspec.msgpack.encode(detector.snapshot())))
    assert sizes[1] < 1.2 * sizes[0] < 20_000


STEPS = st.lists(
    st.tuples(st.sampled_from(("admit", "retire", "tick", "grant", "alarm")), st.integers(0, 5)),
    min_size=1,
    max_size=80,
)


@given(steps=STEPS, longest=st.sampled_from([None, 1, 3]))
def test_a_budget_never_grants_more_than_its_ticks_and_goes_on_from_a_snapshot(
    steps: list[tuple[str, int]], longest: int | None
) -> None:
    """With ``longest`` some mass is forfeited: that only lowers what is granted."""
    all_series = [Series(f"p{n % 2}", f"m{n % 3}", "" if n < 3 else "s") for n in range(6)]
    first, second, lavish = Budget(100, 0.5, longest), Budget(100, 0.5, longest), Budget(100, 0.5)
    admitted: set[Series] = set()
    for what, n in steps:
        series = all_series[n]
        for budget in (first, second, lavish):
            if what == "tick":
                budget.tick(n)
            elif what == "admit":
                budget.admit(series)
            elif series in admitted:
                {"retire": budget.retire, "grant": budget.grant, "alarm": budget.alarmed}[what](series)
        admitted = admitted | {series} if what == "admit" else admitted - {series} if what == "retire" else admitted
        assert first.spend == second.spend
        assert first.spend.granted <= lavish.spend.granted + 1e-9 <= first.updates * first.share + 2e-9
        if admitted:
            assert sum(first.weight(each) for each in admitted) == pytest.approx(0.5)
        second = Budget(100, 0.5, longest)
        second.restore(through_bytes(first.snapshot()))
