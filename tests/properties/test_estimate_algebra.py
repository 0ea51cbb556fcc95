"""Algebra of the label-free estimate: sums may be taken together in any order, and a restart changes nothing."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.estimate.bins import Features, bin_of, count_bins
from streams.estimate.calibration import Calibration
from streams.estimate.estimator import Estimator, EstimatorState

FEATURES = st.builds(
    Features,
    st.none() | st.floats(-20, 0),
    st.none() | st.floats(0, 1),
    st.none() | st.floats(-10, 10),
)
LABELLED = st.lists(st.tuples(FEATURES, st.floats(0, 1)), max_size=200)


def calibrated(labelled: list[tuple[Features, float]]) -> Calibration:
    made = Calibration()
    for features, score in labelled:
        made.add(bin_of(features), score)
    return made


def joined(*parts: Calibration) -> Calibration:
    whole = Calibration()
    for part in parts:
        whole.merge(part)
    return whole


@given(LABELLED, LABELLED, LABELLED)
def test_merging_is_associative_and_commutative(a: list, b: list, c: list) -> None:  # type: ignore[type-arg]
    one = joined(joined(calibrated(a), calibrated(b)), calibrated(c))
    assert one == joined(calibrated(c), joined(calibrated(b), calibrated(a))) == calibrated(a + b + c)


@given(LABELLED, LABELLED, st.lists(FEATURES, min_size=1, max_size=30))
def test_a_restart_from_a_snapshot_changes_nothing(before: list, after: list, calls: list) -> None:  # type: ignore[type-arg]
    through, cut = Estimator(labels_per_false_alarm=50), Estimator(labels_per_false_alarm=50)
    for features, score in before:
        assert through.label(features, score) == cut.label(features, score)
    written = msgspec.msgpack.encode(cut.snapshot())
    cut = Estimator(msgspec.msgpack.decode(written, type=EstimatorState), labels_per_false_alarm=50)
    for features, score in after:
        assert through.label(features, score) == cut.label(features, score)
    assert through.snapshot() == cut.snapshot()
    assert through.estimate(count_bins(calls)) == cut.estimate(count_bins(calls))


@given(st.lists(st.tuples(FEATURES, st.floats(0, 1)), min_size=100, max_size=300), st.lists(FEATURES, min_size=1))
def test_the_interval_lies_around_the_value_within_the_range_of_scores(labelled: list, calls: list) -> None:  # type: ignore[type-arg]
    said = Estimator(EstimatorState(calibrated(labelled))).estimate(count_bins(calls))
    assert said.value is not None and said.low is not None and said.high is not None
    assert 0 <= said.low <= said.value + 1e-9 and said.value - 1e-9 <= said.high <= 1
    assert 0 <= said.outside <= 1 and 0 <= said.unconfirmed <= 1


@given(st.lists(FEATURES, min_size=1), st.randoms(use_true_random=False))
def test_the_order_of_the_calls_does_not_matter(calls: list[Features], chance: object) -> None:
    mixed = list(calls)
    chance.shuffle(mixed)  # type: ignore[attr-defined]
    assert count_bins(mixed) == count_bins(calls)
