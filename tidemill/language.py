"""The language of questions, content-free: a code says nothing of what was said.

CLD2 guesses it from runs of four letters and from words, and says so where a text is too short or too mixed to know.
Source: Compact Language Detector 2 (Chromium), by pycld2.
"""

from __future__ import annotations

from collections.abc import Iterable

import pycld2

MOST_CHARS = 400
"""So much of what was said last is looked at: more changes no guess, and costs."""
_RENAMED = {"iw": "he", "jw": "jv"}
"""Codes that ISO 639 has replaced."""
_NO_LANGUAGE = ("un", "xx", "zz")
"""How CLD2's codes begin that name none: not known, a script alone, a joke."""


def language_of(texts: Iterable[str]) -> str:
    """ISO 639 code of the language of the users' ``texts``, oldest first: two letters, three where it has no such.

    Empty where it is not known. Equal texts, equal codes; upper and lower case are the same.
    """
    said = " ".join("\n".join(texts)[-MOST_CHARS:].split())
    if not said.isprintable():  # CLD2 takes no control characters
        said = "".join(character if character.isprintable() else " " for character in said)
    reliable, _, guesses = pycld2.detect(said, isPlainText=True)
    code: str = guesses[0][1].partition("-")[0]
    return _RENAMED.get(code, code) if reliable and not code.startswith(_NO_LANGUAGE) else ""
