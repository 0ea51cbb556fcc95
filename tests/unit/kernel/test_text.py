"""Features of text, whatever its alphabet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tidemill.text import features


@given(st.text(max_size=60))
def test_digits_are_what_python_calls_digits(text: str) -> None:
    share = sum(c.isdigit() for c in text) / len(text) if text else 0.0
    assert features(text)["digit_share"] == share
    assert features(text)["chars"] == len(text)


def test_features_of_a_question() -> None:
    found = features("Where is card 17?")
    assert found == {
        "chars": 17.0,
        "words": 4.0,
        "digit_share": 2 / 17,
        "mean_word_length": 13 / 4,
        "non_latin_share": 0,
    }
