"""Events of any type with every field filled, or with only what must be there; made from the type's own bounds."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import inspect

CALL = "0197c1de-0000-7000-8000-000000000001"
NOW_MS = 1_763_800_000_000  # 22 November 2025
_TEXT = 'é "quoted"\n\x00 text'


def full(event_type: Any, **fields: Any) -> Any:
    """An event with all optional fields present."""
    return msgspec.convert(_struct(inspect.type_info(event_type), whole=True) | fields, event_type)


def least(event_type: Any, **fields: Any) -> Any:
    """An event with required fields only."""
    return msgspec.convert(_struct(inspect.type_info(event_type), whole=False) | fields, event_type)


def _struct(info: Any, *, whole: bool) -> dict[str, Any]:
    assert isinstance(info, inspect.StructType)
    return {f.encode_name: _value(f.encode_name, f.type, whole) for f in info.fields if whole or f.required}


def _value(name: str, info: Any, whole: bool) -> Any:
    if isinstance(info, inspect.Metadata):
        return _value(name, info.type, whole)
    if isinstance(info, inspect.UnionType):
        inner = [t for t in info.types if not isinstance(t, inspect.NoneType)]
        return _value(name, inner[0], whole) if whole else None
    if isinstance(info, inspect.LiteralType):
        return info.values[-1] if whole else info.values[0]
    if isinstance(info, inspect.StrType):
        return "de" if name == "input_language" else CALL if info.pattern else _TEXT
    if isinstance(info, inspect.BoolType):
        return whole
    if isinstance(info, inspect.FloatType):
        return 0.25
    if isinstance(info, inspect.IntType):
        return NOW_MS if name.endswith("_ms") else 7
    if isinstance(info, inspect.DictType):
        key = 5 if isinstance(info.key_type, inspect.IntType) else "name"
        return {key: _value("", info.value_type, whole)} if whole else {}
    if isinstance(info, inspect.VarTupleType):
        return [_value("", info.item_type, whole)] if whole else []
    return _struct(info, whole=whole)
