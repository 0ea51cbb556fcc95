"""Decoding many messages at once, for those who carry all of them. Apart from the codec, as it needs numpy."""

from __future__ import annotations

import re
from collections.abc import Sequence
from operator import attrgetter
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
import numpy as np
from msgspec import inspect
from numpy.typing import NDArray

from tidemill.codec import Decoder
from tidemill.errors import Quarantine

E = TypeVar("E")


class BulkDecoder(Generic[E]):
    """Decodes many messages of one event type at once: as strictly as Decoder, in two thirds of the time.

    Strings of a fixed form (ids) are looked at for all messages together, and not one by one. What comes back are
    events of the type, or of one below it that differs in its name alone.
    """

    def __init__(self, event_type: type[E]) -> None:
        self._strict: Decoder[E] = Decoder(event_type)
        forms = _forms(event_type)
        self._decode = msgspec.json.Decoder(_without(event_type, list(forms))).decode
        self._checks = [(attrgetter(name), form) for name, form in forms.items()]

    def __call__(self, raws: Sequence[bytes | None]) -> tuple[list[E], dict[int, str]]:
        """The events in order, and by place in ``raws`` the reason why one is none."""
        decode = self._decode
        try:
            events: list[E] = [decode(raw) for raw in raws]  # type: ignore[arg-type]
        except (msgspec.MsgspecError, UnicodeError, RecursionError, TypeError):
            return self._one_by_one(raws)
        for get, form in self._checks:
            if not _all_of(form, [text for text in map(get, events) if text is not None]):
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


class _Form(NamedTuple):
    """What may stand at each place of a string of fixed length."""

    kinds: bytes
    """Of each byte, one bit for each kind of place that it may stand at; shape (256,)."""
    places: NDArray[np.uint8]
    """The bit of each place's kind; shape (length,)."""


_MAX_KINDS = 8
_PLACE = re.compile(r"\[([^\]\\]+)\]\{(\d+)\}|([\w-])", re.ASCII)


def _forms(event_type: Any) -> dict[str, _Form]:
    """The form of each of a struct's own string fields whose pattern says one; empty for other types."""
    info = inspect.type_info(event_type)
    if not isinstance(info, inspect.StructType):
        return {}
    found: dict[str, _Form] = {}
    for each in info.fields:
        for kind in _kinds(each.type):
            if isinstance(kind, inspect.StrType) and (form := _form(kind.pattern)) is not None:
                found[each.name] = form
    return found


def _kinds(found: inspect.Type) -> Sequence[inspect.Type]:
    """The type itself, or those of a union, without what is only said of them."""
    if isinstance(found, inspect.Metadata):
        return _kinds(found.type)
    if isinstance(found, inspect.UnionType):
        return [kind for each in found.types for kind in _kinds(each)]
    return [found]


def _form(pattern: str | None) -> _Form | None:
    """The form of strings like ``^[0-9a-f]{8}-[0-9a-f]{4}$``; None for any other pattern."""
    if pattern is None or not re.fullmatch(rf"\^(?:{_PLACE.pattern})+\$", pattern):
        return None
    places: list[str] = []
    for several, count, letter in _PLACE.findall(pattern[1:-1]):
        places += [several or re.escape(letter)] * int(count or 1)
    bits = {kind: 1 << number for number, kind in enumerate(dict.fromkeys(places))}
    if len(bits) > _MAX_KINDS:
        return None
    allowed = {bit: re.compile(f"[{kind}]") for kind, bit in bits.items()}
    kinds = [sum(bit for bit, one in allowed.items() if one.fullmatch(chr(code))) for code in range(128)]
    return _Form(bytes(kinds).ljust(256, b"\0"), np.array([bits[kind] for kind in places], np.uint8))


def _all_of(form: _Form, texts: list[str]) -> bool:
    """Whether every text has the form."""
    length = len(form.places)
    letters = "".join(texts).encode(errors="replace")
    if len(letters) != length * len(texts) or set(map(len, texts)) - {length}:
        return False
    kinds = np.frombuffer(letters.translate(form.kinds), np.uint8).reshape(-1, length)
    return bool((kinds & form.places).all())


def _without(event_type: Any, names: Sequence[str]) -> Any:
    """The type with plain strings in these fields."""
    if not names:
        return event_type
    own = {each.name: each for each in msgspec.structs.fields(event_type)}
    plain: list[Any] = []
    for name in names:
        optional = not own[name].required and own[name].default is None
        plain.append((name, str | None, None) if optional else (name, str))
    return msgspec.defstruct(event_type.__name__, plain, bases=(event_type,), frozen=True, kw_only=True, gc=False)
