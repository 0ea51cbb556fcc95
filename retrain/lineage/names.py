"""What a text names: a version or a call. Pure."""

from __future__ import annotations

import re

from tidemill.ids import dashed

_VERSION = re.compile(r"(.+)-v\d+")
_CALL = re.compile(r"(?:chatcmpl-)?([0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12})(.*)", re.DOTALL)


def pipeline_of(version: str) -> str:
    """The pipeline in ``<pipeline>-v<N>``; empty where the text is no version."""
    found = _VERSION.fullmatch(version)
    return found[1] if found else ""


def call_of(text: str) -> str:
    """The call's id in a call id or an id handed to a client; empty where it is neither."""
    found = _CALL.fullmatch(text.strip())
    if found is None or (found[2] and not text.strip().startswith("chatcmpl-")):
        return ""
    return dashed(found[1].replace("-", ""))
