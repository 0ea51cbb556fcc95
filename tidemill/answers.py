"""Content-free features of answers: what their text shows of a model that fails in another way than by an error.

None of it knows what would have been right. Repetition: seq-rep-4 of Welleck et al., Neural text generation with
unlikelihood training (1908.04319). Refusals are known by phrases, as in Zou et al. (2307.15043).
"""

from __future__ import annotations

from collections.abc import Callable

from tidemill.refusals import is_refusal
from tidemill.text import FEATURES, features_of, in_words

ANSWER_FEATURES = (*FEATURES, "empty", "refusal", "repetition", "valid")
TRUNCATED = "length"
"""The finish reason of an answer that was cut off at its bound of tokens."""
_RUN = 4
"""Words in a row that make one n-gram."""
_CALLS_TOOLS = ("tool_calls", "function_call")
"""Finish reasons of answers that need no text."""

Check = Callable[[str], bool]
"""Whether a text has the form that its pipeline wants."""


def is_due(status: str, finish_reason: str) -> bool:
    """Whether the answer ended so that it ought to say something: no failure, and no call of a tool."""
    return status == "ok" and finish_reason not in _CALLS_TOOLS


def has_text(text: str | None, status: str, finish_reason: str) -> bool:
    """Whether there is something to look at: a text, or none where one was due. (None: not known.)"""
    return bool(text) or (text is not None and is_due(status, finish_reason))


def answer_features(
    text: str | None, status: str, finish_reason: str, check: Check | None = None
) -> dict[str, float]:
    """ANSWER_FEATURES by name, each in [0, 1] but for lengths; none where there is nothing to look at.

    ``repetition`` needs five words, ``valid`` a ``check`` and an answer that was due (not one that was broken off).
    """
    if text is None or not has_text(text, status, finish_reason):
        return {}
    found = in_words(text)
    said = features_of(text, found)
    said["empty"] = 0.0 if found or text.strip() else 1.0
    said["refusal"] = float(is_refusal(text))
    if len(found) > _RUN:
        said["repetition"] = repetition(found)
    return said | validity(text, status, finish_reason, check)


def validity(text: str | None, status: str, finish_reason: str, check: Check | None) -> dict[str, float]:
    """The feature ``valid``, 1 or 0, where it can be known."""
    if text is None or check is None or not is_due(status, finish_reason):
        return {}
    return {"valid": float(check(text))}


def repetition(found: list[str]) -> float:
    """Share of the n-grams (four words in a row) that were there before, in [0, 1); 0 with fewer than five words."""
    count = len(found) - _RUN + 1
    return 1 - len(set(zip(found, found[1:], found[2:], found[3:], strict=False))) / count if count > 1 else 0.0
