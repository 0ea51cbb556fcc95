"""What each metric calls right, wrong, and not comparable."""

from __future__ import annotations

import pytest

from tidemill.scoring import METRIC_VERSIONS, agreement, score


@pytest.mark.parametrize(
    ("metric", "answer", "label", "expected"),
    [
        ("exact_match", "tue 15:30 60m", "tue 15:30 60m", 1.0),
        ("exact_match", " tue  15:30 60m\n", "tue 15:30 60m", 1.0),
        ("exact_match", "tue 15:31 60m", "tue 15:30 60m", 0.0),
        ("exact_match", "Tue", "tue", 0.0),
        ("exact_match", "", "tue", 0.0),
        ("exact_match", None, "tue", None),
        ("exact_match", "tue", None, None),
        ("json_equal", '{"a": 1, "b": [2, 3]}', '{"b":[2,3],"a":1.0}', 1.0),
        ("json_equal", '{"a": true}', '{"a": 1}', 0.0),
        ("json_equal", "[1, 2]", "[2, 1]", 0.0),
        ("json_equal", "not json", '{"a": 1}', 0.0),
        ("json_equal", '{"a": 1}', "not json", None),
        ("word_accuracy", "Book a room for two.", "book a room, for two", 1.0),
        ("word_accuracy", "book room for for two", "book a room for two", 1 - 2 / 5),
        ("word_accuracy", "", "book a room", 0.0),
        ("word_accuracy", "one two three four five six", "seven", 0.0),
        ("word_accuracy", "e\u0301te\u0301", "été", 1.0),
        ("word_accuracy", "anything", "…", None),
        ("thumb", "yes", "yes", None),
        ("judge", "yes", "yes", None),
        ("unheard_of", "yes", "yes", None),
    ],
)
def test_score(metric: str, answer: str | None, label: str | None, expected: float | None) -> None:
    assert score(metric, answer, label) == expected


@pytest.mark.parametrize(
    ("metric", "first", "again", "expected"),
    [
        ("exact_match", "tue 15:30", "tue  15:30", 1.0),
        ("exact_match", "tue 15:30", "tue 15:31", 0.0),
        ("json_equal", '{"a": 1, "b": 2}', '{"b": 2, "a": 1.0}', 1.0),
        ("json_equal", '{"a": 1}', "not json", 0.0),
        ("json_equal", "not json", "not yaml", 0.5),
        ("word_accuracy", "book a room for two", "book room for for two", 1 - 2 / 5),
        ("judge", "Book a room.", "book a room", 1.0),
        ("judge", "…", "…", 1.0),
        ("judge", "…", "", 0.0),
    ],
)
def test_two_answers_agree_by_the_metric_or_else_by_their_words(
    metric: str, first: str, again: str, expected: float
) -> None:
    assert agreement(metric, first, again) == expected


def test_every_metric_that_compares_has_a_version() -> None:
    assert all(score(metric, "1", "1") == 1.0 for metric in METRIC_VERSIONS)
