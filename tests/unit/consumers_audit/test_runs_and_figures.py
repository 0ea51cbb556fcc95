"""Runs of offsets, and two ways to the same figure."""

from __future__ import annotations

import random
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from consumers.audit.figures import Counted, Figure, Series, agrees, mismatches
from consumers.audit.runs import Run, Runs, readings, size, without
from consumers.audit.slices import add
from tidemill import sketch

CHAMPION = Series("v1", "champion", "client")
OFFSETS = st.sets(st.integers(0, 60))


def runs_of(offsets: set[int]) -> list[Run]:
    made = Runs()
    for offset in sorted(offsets):
        made.add(offset)
    return made.found


def offsets_of(runs: list[Run]) -> set[int]:
    return {offset for run in runs for offset in range(run.lo, run.hi + 1)}


@given(OFFSETS, OFFSETS)
def test_runs_are_sets(one: set[int], taken: set[int]) -> None:
    runs = runs_of(one)
    assert offsets_of(runs) == one and size(runs) == len(one)
    left = without(runs, taken)
    assert offsets_of(left) == one - taken
    assert all(before.hi < after.lo for before, after in pairwise(left))


def test_what_is_near_is_read_in_one_go() -> None:
    runs = [Run(1, 2), Run(5, 9), Run(100, 100)]
    assert readings(runs, 10) == [[Run(1, 2), Run(5, 9)], [Run(100, 100)]]
    assert readings([], 10) == []


def sketched(values: list[float]) -> Figure:
    histogram: dict[int, int] = {}
    for value in values:
        histogram[sketch.bucket(value)] = histogram.get(sketch.bucket(value), 0) + 1
    p50, p95, p99 = (sketch.quantile(histogram, q) for q in (0.5, 0.95, 0.99))
    return Figure(len(values), sum(values), (p50, p95, p99))


def exact(values: list[float]) -> Figure:
    ordered = sorted(values)
    p50, p95, p99 = (ordered[int(q * (len(values) - 1))] for q in (0.5, 0.95, 0.99))
    return Figure(len(values), sum(reversed(values)), (p50, p95, p99))


@given(st.lists(st.floats(0, 86_400_000), min_size=1, max_size=50))
def test_a_sketch_agrees_with_the_values_it_was_made_of(values: list[float]) -> None:
    assert agrees(sketched(values), exact(values))


def test_a_quantile_further_off_than_the_stated_error_is_a_difference() -> None:
    noise = random.Random(1)
    values = [noise.uniform(1, 1000) for _ in range(100)]
    p50, p95, p99 = exact(values).quantiles
    assert p50 is not None
    moved = exact(values)._replace(quantiles=(p50 * 1.011, p95, p99))
    assert not agrees(moved, exact(values))
    assert not agrees(exact(values)._replace(quantiles=(None, None, None)), exact(values))


def test_counts_must_be_equal_and_sums_too() -> None:
    assert not agrees(Figure(10, 5.0), Figure(11, 5.0))
    assert not agrees(Figure(10, 5.0), Figure(10, 5.001))
    assert not agrees(None, Figure(1, 1.0))
    assert agrees(None, Figure(0, 0.0)) and agrees(None, None)


COUNTED = Counted(answers=4, failed=1, cancelled=1, priced=3, cost_micros=1_500_000, output_tokens=40)


def stream_of(series: Series, counted: Counted) -> dict[tuple[Series, str], Figure]:
    return {(series, metric): figure for metric, figure in counted.figures().items()}


def test_equal_ways_have_no_mismatch_and_one_lost_answer_has_several() -> None:
    stream = stream_of(CHAMPION, COUNTED)
    assert mismatches(stream, {CHAMPION: COUNTED}) == []
    found = mismatches(stream, {CHAMPION: COUNTED.plus(Counted(answers=1, failed=1))})
    assert {one.metric for one in found} == {"answers", "cancel_rate", "error_rate", "output_tokens", "unpriced"}
    assert {one.metric for one in mismatches({}, {CHAMPION: COUNTED})} == set(COUNTED.figures())


def test_versions_the_stream_folded_are_added_up_under_other() -> None:
    others = [Series(f"x{n}", "champion", "client") for n in range(3)]
    empty = Counted(answers=1, durations={"e2e_ms": Figure(1, 5.0, (5.0, 5.0, 5.0))})
    folded = Series("other", "champion", "client")
    rows = {CHAMPION: COUNTED, others[0]: COUNTED, others[1]: empty, others[2]: COUNTED}
    together = COUNTED.plus(empty).plus(COUNTED)
    stream = stream_of(CHAMPION, COUNTED) | stream_of(folded, together)
    stream[folded, "e2e_ms"] = Figure(1, 5.0, (5.0, 5.0, 5.0))
    assert mismatches(stream, rows) == []
    assert mismatches(stream, {**rows, others[2]: empty}) != []


def test_slices_the_stream_counted_together_are_added_up_under_other() -> None:
    whole = Series("", "champion", "client")
    named, other = (whole._replace(slice=f"tenant={value}") for value in ("acme", "other"))
    strange = [whole._replace(slice=f"tenant={value}") for value in ("a", "b")]
    rows = {named: COUNTED, strange[0]: COUNTED, strange[1]: COUNTED}
    stream = stream_of(named, COUNTED) | stream_of(other, COUNTED.plus(COUNTED))
    assert {one.metric for one in mismatches(stream, rows)} <= {"e2e_ms"}, "slices have no quantiles"
    assert any(one.metric == "answers" for one in mismatches(stream, {**rows, named: COUNTED.plus(COUNTED)}))


def test_slices_that_do_not_add_up_to_the_whole_are_not_compared() -> None:
    """The setting was changed within the window."""
    place, whole = ("p", 0), Series("", "champion", "client")
    acme, old = whole._replace(slice="tenant=acme"), whole._replace(slice="prompt_version=3")
    stream = {place: {(series, "requests"): Figure(n, n) for series, n in ((whole, 5), (acme, 3), (old, 5))}}
    add(no_rows, {"p": ["tenant"]}, {}, stream)
    assert [series for series, _ in stream[place]] == [whole]
    stream[place][acme, "requests"] = Figure(5, 5)
    add(no_rows, {"p": ["tenant"]}, {}, stream)
    assert [series for series, _ in stream[place]] == [whole, acme]


def no_rows(_sql: str, **_where: object) -> list[dict[str, object]]:
    return []
