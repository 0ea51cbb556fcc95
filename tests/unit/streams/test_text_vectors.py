"""Texts as vectors: near where they share words, and nothing is left of the words."""

from __future__ import annotations

import numpy as np
import pytest

from streams.detectors.text_vectors import DIMENSIONS, TextVectors

REFERENCE = ["where is my card", "my card is lost", "what is the exchange rate", "is the rate good today"]


def test_texts_that_share_rare_words_are_near() -> None:
    vectors = TextVectors(REFERENCE)
    card, lost, rate = (vectors.of(text).vector for text in ("the card?", "A lost card", "Rate today"))
    assert card.shape == (DIMENSIONS,)
    assert np.linalg.norm(card) == pytest.approx(1)
    assert card @ lost > card @ rate


def test_scalars_are_of_this_text_against_the_reference() -> None:
    found = TextVectors(REFERENCE).of("my karte is lost")
    assert (found.chars, found.unseen, found.word_length) == (16, 0.25, 3.25)


def test_a_text_without_words_is_no_error() -> None:
    found = TextVectors(REFERENCE).of("…!")
    assert not found.vector.any()
    assert (found.chars, found.unseen, found.word_length) == (2, 0, 0)


def test_it_needs_a_reference() -> None:
    with pytest.raises(ValueError, match="no texts"):
        TextVectors([])
