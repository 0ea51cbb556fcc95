"""Content-free features of text: taken before redaction, safe to keep when content is not captured."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable

from tidemill.events import Message

WORD_BUCKETS = 1024
"""Words are counted by hash bucket, so that no word can be read back."""
FEATURES = ("chars", "words", "digit_share", "mean_word_length", "non_latin_share")
QUESTION_FEATURES = (*FEATURES, "context_chars")

_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_LATIN = re.compile(
    "[A-Za-z\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02b8\u1d00-\u1d25\u1e00-\u1eff\u2c60-\u2c7f\ua722-\ua788"
    "\ua78b-\ua7ff\uab30-\uab64\ufb00-\ufb06\uff21-\uff3a\uff41-\uff5a]+"
)
"""Letters of the Latin script, but for a few of phonetic notation."""
_NO_CONTEXT = frozenset({"user", "assistant", "system", "developer"})
"""Who speaks in a conversation; what any other role says was fetched for the answer."""


def in_words(text: str) -> list[str]:
    """The words of any script, in order, as they are written."""
    return _WORD.findall(text)


def words(text: str) -> list[str]:
    """The lower-cased words of any script, in order."""
    return in_words(text.lower())


def features(text: str) -> dict[str, float]:
    """Scalar features by name: see FEATURES. Lengths are in characters and words; shares are in [0, 1]."""
    found = in_words(text)
    digits, letters_and_digits = _digits(text), sum(map(len, found))
    return {
        "chars": float(len(text)),
        "words": float(len(found)),
        "digit_share": digits / len(text) if text else 0.0,
        "mean_word_length": letters_and_digits / len(found) if found else 0.0,
        "non_latin_share": 0.0 if text.isascii() else _non_latin_share(text, letters_and_digits - digits),
    }


def question_features(messages: Iterable[Message]) -> dict[str, float]:
    """QUESTION_FEATURES of a conversation: those of what the users said, and the length of the context fetched for the
    answer: of messages of role ``tool``, ``function`` or a name of the producer's own. Empty where no user speaks."""
    users, context = [], 0
    for message in messages:
        if message.role == "user":
            users.append(message.content)
        elif message.role not in _NO_CONTEXT:
            context += len(message.content)
    return features("\n".join(users)) | {"context_chars": float(context)} if users else {}


def _digits(text: str) -> int:
    return sum(map(text.count, "0123456789")) if text.isascii() else sum(map(str.isdigit, text))


def _non_latin_share(text: str, letters: int) -> float:
    """Share of the letters that are of another script than Latin; 0 where there are none."""
    latin = sum(map(len, _LATIN.findall(text)))
    return max(0, letters - latin) / letters if letters > 0 else 0.0


def word_buckets(texts: Iterable[str]) -> dict[int, int]:
    """Counts of lower-cased words by hash bucket, sorted by bucket."""
    counts: dict[int, int] = {}
    for text in texts:
        for word in words(text):
            index = zlib.crc32(word.encode()) % WORD_BUCKETS
            counts[index] = counts.get(index, 0) + 1
    return dict(sorted(counts.items()))
