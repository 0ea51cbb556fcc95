"""The wire format: UTF-8 JSON, one event a message, decoded strictly into its type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import inspect

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
            raise Quarantine(f"schema: {error}") from error
        except msgspec.DecodeError as error:
            raise Quarantine(f"json: {error}") from error
        except UnicodeDecodeError as error:
            raise Quarantine(f"utf-8: {error.reason} at byte {error.start}") from error
        except RecursionError as error:
            raise Quarantine("json: nested too deeply") from error


class BulkDecoder(Generic[E]):
    """Decodes many messages of one event type at once: as strictly as Decoder, in two thirds of the time.

    Patterns of strings are looked at for all messages together, and not one by one. What comes back are events of the
    type, or of one below it that differs in its name alone.
    """

    def __init__(self, event_type: type[E]) -> None:
        self._strict: Decoder[E] = Decoder(event_type)
        patterns = _patterns(event_type)
        self._decode = msgspec.json.Decoder(_without(event_type, patterns)).decode
        self._checks = [(attrgetter(name), _lines(pattern)) for name, pattern in patterns.items()]

    def __call__(self, raws: Sequence[bytes | None]) -> tuple[list[E], dict[int, str]]:
        """The events in order, and by place in ``raws`` the reason why one is none."""
        decode = self._decode
        try:
            events: list[E] = [decode(raw) for raw in raws]  # type: ignore[arg-type]
        except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError):
            return self._one_by_one(raws)
        for get, lines in self._checks:
            found = [text for text in map(get, events) if text is not None]
            together = "\n".join(found)
            if found and (together.count("\n") != len(found) - 1 or lines.fullmatch(together) is None):
                return self._one_by_one(raws)
        return events, {}

    def _one_by_one(self, raws: Sequence[bytes | None]) -> tuple[list[E], dict[int, str]]:
        events: list[E] = []
        refused: dict[int, str] = {}
        for place, raw in enumerate(raws):
            try:
                events.append(self._strict(raw))
            except Quarantine as refusal:
                refused[place] = refusal.reason
        return events, refused


def _patterns(event_type: Any) -> dict[str, str]:
    """The pattern of each of the type's own string fields that has one; empty for what is no struct."""
    info = inspect.type_info(event_type)
    if not isinstance(info, inspect.StructType):
        return {}
    found: dict[str, str] = {}
    for each in info.fields:
        for kind in _kinds(each.type):
            if isinstance(kind, inspect.StrType) and kind.pattern is not None:
                found[each.name] = kind.pattern
    return found


def _kinds(found: inspect.Type) -> Sequence[inspect.Type]:
    """The type itself, or those of a union, without what is only said of them."""
    if isinstance(found, inspect.Metadata):
        return _kinds(found.type)
    if isinstance(found, inspect.UnionType):
        return [kind for each in found.types for kind in _kinds(each)]
    return [found]


def _without(event_type: Any, patterns: dict[str, str]) -> Any:
    """The type with plain strings in place of those with a pattern."""
    if not patterns:
        return event_type
    own = {each.name: each for each in msgspec.structs.fields(event_type)}
    plain: list[Any] = []
    for name in patterns:
        optional = not own[name].required and own[name].default is None
        plain.append((name, str | None, None) if optional else (name, str))
    return msgspec.defstruct(event_type.__name__, plain, bases=(event_type,), frozen=True, kw_only=True, gc=False)


def _lines(pattern: str) -> re.Pattern[str]:
    """Matches lines that each match ``pattern``, which says how a whole string is made (``^...$``)."""
    assert pattern.startswith("^") and pattern.endswith("$")
    line = pattern[1:-1]
    return re.compile(f"(?:{line}\n)*{line}")
