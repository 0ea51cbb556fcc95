"""Events and dead letters as their topics can hold them (pure): what is too large goes without text, and says so."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from serving.gateway.drain import Envelope, limit, size
from tidemill.codec import encode
from tidemill.events import InferenceRequest, InferenceResponse
from tidemill.io.letters import Refusal
from tidemill.topics import FEEDBACK, REQUESTS, RESPONSES

KEY_BYTES = 128
"""Room for the message's key, a call's id."""
LONGEST = 256
"""Characters left of each field where an event without its text is still too large."""
_OUR_ID = re.compile(r"chatcmpl-[0-9a-f]{32}[A-Za-z0-9_-]{0,1024}")
_MARK = {"tidemill.text": "left out: too long"}


def fitting(row: InferenceRequest | InferenceResponse) -> bytes:
    """The event, whatever it holds, in at most its topic's bytes.

    One that is too large goes without its text; one that still is has every field cut to ``LONGEST`` characters and
    no attributes or parameters. A request says so in its attributes; a response has no text.
    """
    most = limit((REQUESTS if isinstance(row, InferenceRequest) else RESPONSES).name) - KEY_BYTES
    data = encode(row)
    if len(data) > most:
        row = _without_text(row)
        data = encode(row)
    return data if len(data) <= most else encode(_cut(row))


def dead_letter(raw: bytes, body: Mapping[str, Any], reason: str, *, whole: bool, known: frozenset[str]) -> Envelope:
    """Feedback that names no answer of ours. ``whole``: its body may be kept unchanged.

    Otherwise (and where the body is too large) what goes is the id, if it has the shape of ours, the names of the
    fields that are ``known``, the body's size in bytes and the reason.
    """
    headers = tuple(Refusal(FEEDBACK.name, "gateway", "attribution", reason).headers())
    kept = Envelope(FEEDBACK.dlq, "", raw, headers)
    if whole and size(kept) <= limit(kept.topic):
        return kept
    given = body.get("id")
    said = {
        "id": given if isinstance(given, str) and _OUR_ID.fullmatch(given) else None,
        "fields": sorted(known & body.keys()),
        "bytes": len(raw),
        "reason": reason,
    }
    return Envelope(FEEDBACK.dlq, "", msgspec.json.encode(said), headers)


def _without_text(row: InferenceRequest | InferenceResponse) -> InferenceRequest | InferenceResponse:
    changes: dict[str, Any] = (
        {"gen_ai_input_messages": None, "attributes": {**row.attributes, **_MARK}}
        if isinstance(row, InferenceRequest)
        else {"gen_ai_output_text": None}
    )
    return msgspec.structs.replace(row, **changes)


def _cut(row: InferenceRequest | InferenceResponse) -> InferenceRequest | InferenceResponse:
    fields = {name: getattr(row, name) for name in row.__struct_fields__}
    changes: dict[str, Any] = {name: value[:LONGEST] for name, value in fields.items() if isinstance(value, str)}
    if isinstance(row, InferenceRequest):
        changes |= {"attributes": _MARK, "parameters": {}}
    else:
        changes["attributes"] = None
    return msgspec.structs.replace(row, **changes)
