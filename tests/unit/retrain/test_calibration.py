"""The calibration error of answers that are as sure as they are right, and of those that are not."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain.gate.calibration import calibration_error, surely_worse
from retrain.model.certainty import certainty


def told(count: int, rng: Random, boast: float = 0.0) -> list[tuple[float, float]]:
    """Answers that are right as often as they are sure, less ``boast``."""
    sure = [rng.random() for _ in range(count)]
    return [(each, float(rng.random() < each - boast)) for each in sure]


def test_known_values() -> None:
    assert calibration_error([]) is None
    assert calibration_error([(1.0, 1.0)] * 50) == 0
    assert calibration_error([(1.0, 0.0)] * 50) == 1
    assert calibration_error([(0.5, 1.0), (0.5, 0.0)] * 50) == 0
    assert calibration_error(told(20_000, Random(1))) == pytest.approx(0, abs=0.02)
    assert calibration_error(told(20_000, Random(1), boast=0.3)) == pytest.approx(0.25, abs=0.03)


def test_only_what_is_surely_worse_is() -> None:
    rng = Random(2)
    good, bad = told(200, rng), told(200, rng, boast=0.5)
    assert surely_worse(bad, good, 0.1, 0.05)
    assert not surely_worse(good, bad, 0.1, 0.05)
    few = [told(25, Random(seed)) for seed in range(40)]
    called = sum(surely_worse(one, other, 0.1, 0.05) for one, other in pairwise(few))
    assert called <= 2


answers = st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=60)


@given(answers, st.randoms(use_true_random=False))
def test_it_lies_between_0_and_1_and_order_does_not_count(given: list[tuple[float, float]], rng: Random) -> None:
    error = calibration_error(given)
    assert error is not None and 0 <= error <= 1
    assert calibration_error(rng.sample(given, len(given))) == pytest.approx(error)


def test_certainty_is_the_probability_of_the_answer_up_to_its_end() -> None:
    import torch

    watched = certainty(3)
    for likeliest in ((0, 3), (3, 1), (2, 2)):  # the second answer ends at its first token
        logits = torch.zeros(2, 4)
        for row, token in enumerate(likeliest):
            logits[row, token] = 2.0
        assert watched(None, logits) is logits
    one = torch.softmax(torch.tensor([2.0, 0, 0, 0]), 0)[0].item()
    assert watched.told() == [pytest.approx(one**2), pytest.approx(one)]
    assert certainty(None).told() == certainty([1, 2]).told() == []
