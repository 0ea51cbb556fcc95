"""Blacks out what points at a person: e-mail addresses and long numbers (phones, cards, accounts)."""

from __future__ import annotations

import re

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_NUMBER = re.compile(r"\+?\(?\d(?:[ \t().\-/]{0,2}\d){6,}")
"""Seven digits or more, alone or grouped by blanks, dots, dashes, slashes and brackets."""


def redact(text: str) -> str:
    """The text with ``[email]`` and ``[number]`` in their place. Errs on the safe side: a full date goes too."""
    return _NUMBER.sub("[number]", _EMAIL.sub("[email]", text))
