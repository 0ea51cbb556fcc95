"""The wire format: UTF-8 JSON, one event a message, decoded strictly into its type."""

from __future__ import annotations

import re
from typing import Any, Generic, TypeVar

import msgspec

from tidemill.errors import Quarantine

E = TypeVar("E")

_encoder = msgspec.json.Encoder(decimal_format="number")


def encode(event: Any) -> bytes:
    """The event as JSON bytes. Equal events give equal bytes (fields in declared order)."""
    return _encoder.encode(event)


class Decoder(Generic[E]):
    """Decodes messages of one type; holds no state, so share it freely."""

    def __init__(self, event_type: Any) -> None:
        self.event_type = event_type
        self._decoder: msgspec.json.Decoder[E] = msgspec.json.Decoder(event_type)

    def __call__(self, raw: bytes | None) -> E:
        """The event. Raises Quarantine with the reason where the bytes are no valid event."""
        if raw is None:
            raise Quarantine("null: the message has no value")
        try:
            return self._decoder.decode(raw)
        except msgspec.ValidationError as error:
            raise Quarantine(f"schema: {_unquoted(str(error))}") from error
        except msgspec.DecodeError as error:
            raise Quarantine(f"json: {error}") from error
        except UnicodeDecodeError as error:
            raise Quarantine(f"utf-8: {error.reason} at byte {error.start}") from error
        except RecursionError as error:
            raise Quarantine("json: nested too deeply") from error


_QUOTES = re.compile(r"(Invalid enum value|Invalid value|Object contains unknown field) .*", re.DOTALL)
_PATH = re.compile(r" - at `(?:key` in `)?\$[\w.\[\]]*`$")


def _unquoted(reason: str) -> str:
    """The reason without what it quotes of the message: reasons are shown where no content may be."""
    quotes = _QUOTES.fullmatch(reason)
    if quotes is None:
        return reason
    path = _PATH.search(reason)
    return quotes[1] + (path[0] if path else "")
