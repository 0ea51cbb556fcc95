"""Content-free features of answers: what their text shows of a model that fails in another way than by an error.

None of it knows what would have been right. Repetition: seq-rep-4 of Welleck et al., Neural text generation with
unlikelihood training (1908.04319). Refusals are known by phrases, as in Zou et al. (2307.15043).
"""

from __future__ import annotations

from collections.abc import Callable

from tidemill.refusals import is_refusal
from tidemill.text import in_words

ANSWER_FEATURES = ("chars", "words", "empty", "refusal", "repetition", "valid")
TRUNCATED = "length"
"""The finish reason of an answer that was cut off at its bound of tokens."""
USUAL_FINISHES = ("stop", TRUNCATED)
"""Any other known reason (a filter, calls of tools, a provider's own word) counts as another finish."""
_RUN = 4
"""Words in a row that make one n-gram."""
CALLS_TOOLS = ("tool_calls", "function_call")
"""Finish reasons of answers that need no text."""

Check = Callable[[str], bool]
"""Whether a text has the form that its pipeline wants."""


def has_text(text: str | None, status: str) -> bool:
    """Whether there is something to look at: a text, or none though the answer ended well. (None: not known.)"""
    return bool(text) or (text is not None and status == "ok")


def answer_features(text: str | None, status: str, finish_reason: str, check: Check | None = None) -> dict[str, float]:
    """ANSWER_FEATURES by name, each in [0, 1] but for lengths; none where there is nothing to look at.

    ``repetition`` needs five words, ``valid`` a ``check`` and an answer that ended well. One that only calls tools says
    nothing but that it is not empty.
    """
    if text is None or not has_text(text, status):
        return {}
    if not text and finish_reason in CALLS_TOOLS:
        return {"empty": 0.0}
    found = in_words(text)
    said = {
        "chars": float(len(text)),
        "words": float(len(found)),
        "empty": 0.0 if found or text.strip() else 1.0,
        "refusal": float(is_refusal(text)),
    }
    if len(found) > _RUN:
        said["repetition"] = repetition(found)
    return said | validity(text, status, finish_reason, check)


def validity(text: str | None, status: str, finish_reason: str, check: Check | None) -> dict[str, float]:
    """The feature ``valid``, 1 or 0, where it can be known."""
    if text is None or check is None or status != "ok" or finish_reason in CALLS_TOOLS:
        return {}
    return {"valid": float(check(text))}


def repetition(found: list[str]) -> float:
    """Share of the n-grams (four words in a row) that were there before, in [0, 1); 0 with fewer than five words."""
    count = len(found) - _RUN + 1
    return (count - len(set(zip(found, found[1:], found[2:], found[3:], strict=False)))) / count if count > 1 else 0.0
