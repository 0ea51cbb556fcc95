"""How an answer is judged against a label: one pure function per metric, each with a version.

The scorer and the gate both judge through ``score``, so that a figure means the same live and before release. Change
what a metric does only together with its version: scores of another version are other scores.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec

from tidemill.text import words

METRIC_VERSIONS: dict[str, str] = {"exact_match": "1", "json_equal": "1", "word_accuracy": "1"}
"""The metrics that compare an answer with a label, and the version of each. ``thumb`` and ``judge`` are none of them:
their scores are given."""


def score(metric: str, answer: str | None, label: str | None) -> float | None:
    """The score in [0, 1]; None where there is nothing to compare.

    None: the metric takes no labels (``thumb``, unknown names), the answer or the label was not captured, or the
    label itself is no value of the metric's kind (json_equal: it is not JSON; word_accuracy: it has no words).
    """
    compare = _COMPARE.get(metric)
    if compare is None or answer is None or label is None:
        return None
    return compare(answer, label)


def agreement(metric: str, first: str, again: str) -> float:
    """How far two answers to one question say the same, in [0, 1]: by the metric, with the first one as the label.

    By their words where the metric compares no answers or cannot read the first, by their text where it has no words.
    """
    found = (score(each, again, first) for each in (metric, "word_accuracy", "exact_match"))
    return next(value for value in found if value is not None)


def _exact_match(answer: str, label: str) -> float | None:
    """1.0 when both are the same text; runs of blanks count as one, blanks at the ends as none."""
    return float(answer.split() == label.split())


def _json_equal(answer: str, label: str) -> float | None:
    """1.0 when both are the same JSON value: order of keys and blanks do not count, 1 equals 1.0, true is not 1."""
    try:
        wanted = _canonical(msgspec.json.decode(label))
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    try:
        return float(_canonical(msgspec.json.decode(answer)) == wanted)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return 0.0


def _word_accuracy(answer: str, label: str) -> float | None:
    """1 less the word error rate, never below 0: wrong, missing and added words by words of the label.

    Case and punctuation do not count. Words are runs of letters and digits, so a language written without blanks has
    few and long ones.
    """
    wanted = words(unicodedata.normalize("NFC", label))
    if not wanted:
        return None
    import jiwer  # a twentieth of a second, which most who score do not need

    given = words(unicodedata.normalize("NFC", answer))
    return 1 - min(1.0, jiwer.wer(" ".join(wanted), " ".join(given)))


def _canonical(value: Any) -> Any:
    """The value with its kind beside it, so that Python's ``True == 1`` does not count as equal."""
    if isinstance(value, dict):
        return {key: _canonical(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_canonical(inner) for inner in value]
    return ("bool", value) if isinstance(value, bool) else value


_COMPARE: dict[str, Callable[[str, str], float | None]] = {
    "exact_match": _exact_match,
    "json_equal": _json_equal,
    "word_accuracy": _word_accuracy,
}
