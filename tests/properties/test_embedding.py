"""Four numbers of an embedding: the same for every scale, spread alike, and moved where embeddings move."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.embedding import EMBEDDING_FEATURES, embedding_features

numbers = st.floats(-100, 100).filter(lambda x: abs(x) > 1e-3)


@given(st.lists(numbers, min_size=1, max_size=40), st.floats(0.01, 100))
def test_scale_says_nothing_and_length_bounds(embedding: list[float], scale: float) -> None:
    found = embedding_features(embedding)
    scaled = embedding_features([scale * x for x in embedding])
    assert list(found) == list(EMBEDDING_FEATURES)
    assert all(math.isclose(found[name], scaled[name], abs_tol=1e-6) for name in found)
    assert all(abs(value) <= math.sqrt(len(embedding)) + 1e-9 for value in found.values())


@pytest.mark.parametrize("embedding", [[], [0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_what_points_nowhere_is_refused(embedding: list[float]) -> None:
    with pytest.raises(ValueError, match="finite and not all zero"):
        embedding_features(embedding)


def test_the_projections_are_the_same_for_ever() -> None:
    found = embedding_features([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
    assert {name: round(value, 3) for name, value in found.items()} == PINNED


PINNED = {"embedding_1": 0.652, "embedding_2": 1.007, "embedding_3": -0.652, "embedding_4": 0.415}


@pytest.mark.parametrize("dimensions", [32, 384, 1536])
def test_embeddings_that_point_anywhere_have_projections_of_deviation_one(dimensions: int) -> None:
    drawn = np.random.default_rng(dimensions).normal(size=(1000, dimensions))
    found = np.array([list(embedding_features(row.tolist()).values()) for row in drawn])
    assert np.abs(found.mean(axis=0)).max() < 0.13
    assert np.abs(found.std(axis=0) - 1).max() < 0.1


def test_a_new_topic_moves_one_of_them_nearly_always() -> None:
    chance = np.random.default_rng(3)
    moved = 0
    for _ in range(100):
        old, new = chance.normal(size=(2, 64))
        noise = chance.normal(size=(2, 50, 64))
        before, after = (
            np.array([list(embedding_features(row.tolist()).values()) for row in mean + noise[side]]).mean(axis=0)
            for side, mean in enumerate((old, new))
        )
        moved += int(np.abs(after - before).max() > 0.5)
    assert moved >= 95
