"""The capacity model: what grows with what, and how an outage goes."""

from __future__ import annotations

import math

import pytest

from benchmarks.capacity import Costs, Load, cells_per_s, measured, needs, outage, partitions
from benchmarks.frame import Goal

COSTS = Costs(broker=4, meter=6, streams=10, sink=9, store=11)


def test_cells_are_at_most_the_events_and_at_most_the_series_in_every_range() -> None:
    assert cells_per_s(1_000, 1_000_000, 4) == pytest.approx(1_000, rel=0.01)
    assert cells_per_s(1_000_000, 10, 4) == pytest.approx(4 * 4 * 10)


def test_twice_the_events_need_twice_the_cores_and_the_first_to_fill_stands_first() -> None:
    one, two = (needs(Load(rate, 100), COSTS) for rate in (100_000.0, 200_000.0))
    cores = [{need.part: need.cores for need in found} for found in (one, two)]
    assert cores[1]["sink"] == pytest.approx(2 * cores[0]["sink"])
    assert [need.breaks_at for need in two] == sorted(need.breaks_at for need in two)
    assert partitions(Load(200_000.0, 100), COSTS) >= max(n.units for n in two if n.part in ("meter", "sink"))


def test_an_outage_is_caught_up_where_there_is_room() -> None:
    load = Load(1_000_000.0, 10_000)
    sink = next(need for need in needs(load, COSTS) if need.part == "sink")
    went = outage(load, sink, 600)
    assert went.longest_lag_s == pytest.approx(600, rel=0.02)
    assert 600 / sink.breaks_at < went.caught_up_s < 3_600
    assert math.isinf(outage(load, sink._replace(breaks_at=1.0), 600).caught_up_s)


def test_the_measured_costs_are_there() -> None:
    found = measured()
    assert min(found.broker, found.meter, found.streams, found.sink, found.store) > 0


def test_a_goal_that_was_not_measured_does_not_hold() -> None:
    assert not Goal("x", None, "", 1, "lower").holds
    assert Goal("x", 1.0, "", 1, "lower").holds and Goal("x", 1.0, "", 1, "higher").holds
