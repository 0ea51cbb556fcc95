"""Slices of windows: whatever comes, those of a dimension add up to the whole, and a value is in one place only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.meter.batch import Batch, Span
from streams.meter.fold import Rules, fold
from streams.windows import slices
from streams.windows.slices import IDLE_MS, Dimension
from tests.unit.meter.test_fold import NOW_MS, feedback
from tests.unit.streams.drawing import Meter, Reader, deployment, of_slice, requests
from tidemill.events import Feedback, Window
from tidemill.slices import dimension_of

DAY_S = IDLE_MS // 1000
SETTINGS = deployment(
    size_s=10,
    lateness_s=25,
    slices=["tenant"],
    max_slices=2,
    rules=[{"name": "held", "metric": "requests", "below": 1, "slice": "tenant=held"}],
)


class Said(NamedTuple):
    """Calls of one value in one second, and the meter's clock after them."""

    second: int
    value: str
    calls: int


values = st.sampled_from(["a", "b", "c", "held", "other", ""])
moments = st.builds(lambda day, second: day * (DAY_S + 20) + second, st.integers(0, 2), st.integers(0, 60))
stories = st.lists(st.builds(Said, moments, values, st.integers(1, 5)), max_size=40).map(sorted)


def told(story: Sequence[Said], late: Sequence[int]) -> list[Window]:
    """The rows, where every call is heard of some seconds late."""
    meter, reader = Meter(), Reader(SETTINGS)
    found: list[Window] = []
    for said, more in zip(story, late, strict=True):
        at_s = max(0, said.second - more)
        cell = requests(at_s, said.calls)
        found += reader.take(meter.partial([cell], slices=[of_slice(f"tenant={said.value}", cell)])).windows
        found += reader.take(meter.progress(said.second + 1)).windows
    return found + reader.take(meter.progress(5 * DAY_S)).windows


@given(stories, st.data())
def test_the_slices_of_a_dimension_add_up_to_the_whole_and_are_bounded(story: list[Said], data: st.DataObject) -> None:
    late = data.draw(st.lists(st.integers(0, 30), min_size=len(story), max_size=len(story)))
    whole: dict[int, int] = {}
    by_slice: dict[int, dict[str, int]] = defaultdict(dict)
    for row in told(story, late):  # later revisions replace earlier ones
        if row.metric == "requests" and row.slice:
            by_slice[row.start_ms][row.slice] = row.n
        elif row.metric == "requests" and row.n:
            whole[row.start_ms] = row.n
    assert {start: sum(found.values()) for start, found in by_slice.items()} == whole
    for found in by_slice.values():
        assert len(found.keys() - {"tenant=other"}) <= 2


told_scores = st.builds(
    feedback,
    st.integers(0, 10**6),
    score=st.sampled_from([0.0, 0.25, 1.0]),
    time_ms=st.integers(NOW_MS, NOW_MS + 3_000),
    variant=st.sampled_from(["champion", "canary", "shadow"]),
    slices=st.dictionaries(st.sampled_from(["tenant", "prompt_version", "attributes.x"]), values, max_size=3),
)


@given(st.lists(told_scores, min_size=1, max_size=40))
def test_scores_by_slice_add_up_to_the_clients_that_say_theirs(events: list[Feedback]) -> None:
    dimensions = ("tenant", "prompt_version")
    batch = Batch(range(len(events)), np.array([event.time_ms for event in events], np.int64), events)
    (partial,) = fold(Span("t", 0, 0, len(events)), batch, {"p": Rules("exact_match", slices=dimensions)})
    for dimension in dimensions:
        mine = [cell.moments["quality"] for cell in partial.slices if dimension_of(cell.slice) == dimension]
        wanted = [e.score for e in events if e.variant != "shadow" and dimension in e.slices]
        assert (sum(m.n for m in mine), sum(m.total for m in mine)) == (len(wanted), sum(filter(None, wanted)))
    assert {dimension_of(cell.slice) for cell in partial.slices} <= set(dimensions)


@given(st.lists(st.tuples(st.integers(0, 30), values), max_size=60), st.integers(1, 3))
def test_within_a_window_a_value_is_named_or_other_never_both(story: list[tuple[int, str]], most: int) -> None:
    """Windows come in any order, days apart, so that names are given back."""
    held, size_ms = frozenset({"held"}), IDLE_MS // 3
    dimension, found = Dimension.of(held), defaultdict[tuple[int, str], set[str]](set)
    for window, value in story:
        start = window * size_ms
        if value in found[start, value]:
            continue  # a window keeps the slices it has
        found[start, value].add(dimension.name(value, start, size_ms, most, held))
        assert len(dimension.values) <= most
    assert all(len(names) == 1 for names in found.values())
    named = {start for (start, value), names in found.items() if value == "held" and names == {"other"}}
    assert named == set(), "what the settings name has its own figures from the first window on"


def test_a_name_is_looked_up_as_it_was_given() -> None:
    dimension = Dimension()
    assert [dimension.name(value, 0, 10, 1, frozenset()) for value in "ab"] == ["a", "other"]
    known = {"tenant": dimension}
    assert [slices.named(known, f"tenant={value}", 0) for value in "abc"] == [
        "tenant=a",
        "tenant=other",
        "tenant=other",
    ]
    assert slices.named({}, "tenant=a", 0) == "tenant=other"
