"""Log-bucket histograms keep their promised relative error and merge exactly."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from tidemill.sketch import RELATIVE_ERROR, ZERO_BUCKET, bucket, buckets, middle, quantile


def test_every_value_is_within_the_relative_error() -> None:
    for value in (1e-6, 0.3, 1.0, 7.0, 123.4, 9e7):
        assert abs(middle(bucket(value)) - value) <= RELATIVE_ERROR * value * 1.0001


def test_arrays_fall_into_the_same_buckets_as_single_values() -> None:
    values = np.array([0.0, -3.0, 0.02, 5.0, 1e6])
    assert buckets(values).tolist() == [bucket(v) for v in values]
    assert bucket(0.0) == ZERO_BUCKET


@pytest.mark.parametrize("q", [0.0, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_stay_within_the_relative_error(q: float) -> None:
    values = np.random.default_rng(1).lognormal(3, 1, 2_000)
    histogram = Counter(buckets(values).tolist())
    exact = float(np.quantile(values, q, method="lower"))
    found = quantile(histogram, q)
    assert found is not None
    assert abs(found - exact) <= RELATIVE_ERROR * exact * 1.0001


def test_no_value_has_no_quantile() -> None:
    assert quantile({}, 0.5) is None
