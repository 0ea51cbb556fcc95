"""Columns from event types: how a field lands, which ClickHouse types may hold it, and how values become Arrow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from operator import attrgetter
from typing import Any, Literal

import msgspec
import pyarrow as pa
from msgspec import inspect

from tidemill.codec import encode

Kind = Literal["text", "uint32", "uint64", "int64", "float", "bool", "json", "text_map", "float_map", "count_map"]

ARROW: dict[Kind, Any] = {
    "text": pa.string(),
    "json": pa.string(),
    "uint32": pa.uint32(),
    "uint64": pa.uint64(),
    "int64": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
    "text_map": pa.map_(pa.string(), pa.string()),
    "float_map": pa.map_(pa.string(), pa.float64()),
    "count_map": pa.map_(pa.int32(), pa.int64()),
}
CLICKHOUSE: dict[Kind, str] = {
    "text": "String",
    "json": "String",
    "uint32": "UInt32",
    "uint64": "UInt64",
    "int64": "Int64",
    "float": "Float64",
    "bool": "Bool",
    "text_map": "Map(String, String)",
    "float_map": "Map(String, Float64)",
    "count_map": "Map(Int32, Int64)",
}
_MAX_UINT32 = 2**32 - 1
REFUSALS = (pa.ArrowException, OverflowError, UnicodeError, TypeError, ValueError)
"""What Arrow raises for a value it cannot hold."""


@dataclass(frozen=True)
class Column:
    """One column: its name, how it lands, and where its value is in an event."""

    name: str
    kind: Kind
    get: Callable[[Any], Any]
    nullable: bool = False
    field: int | None = None
    """Which of the event's fields it is; None where it is made of something else."""

    @property
    def types(self) -> frozenset[str]:
        """The ClickHouse types that may hold it."""
        plain = CLICKHOUSE[self.kind]
        if self.nullable:
            plain = f"Nullable({plain})"
        return frozenset({plain, f"LowCardinality({plain})"})

    def array(self, values: Sequence[Any]) -> pa.Array:
        """The values as Arrow. Raises one of REFUSALS when one does not fit."""
        kind = ARROW[self.kind]
        if self.kind == "json":
            return pa.array([None if v is None else encode(v).decode() for v in values], kind)
        if not self.kind.endswith("_map"):
            return pa.array(values, kind)
        maps = [v or {} for v in values]
        offsets = [0, *accumulate(map(len, maps))]
        keys = pa.array(list(chain.from_iterable(maps)), kind.key_type)
        items = pa.array(list(chain.from_iterable(m.values() for m in maps)), kind.item_type)
        return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, items)

    def refuses(self, value: Any) -> str | None:
        """Why this one value does not fit; None when it does."""
        try:
            self.array([value])
        except REFUSALS as error:
            return f"{self.name}: {error}"
        return None


def column(event_type: type[msgspec.Struct], name: str) -> Column:
    """The column of an event's field, from the field's type. Raises KeyError when there is no such field."""
    info = inspect.type_info(event_type)
    assert isinstance(info, inspect.StructType)
    field = {field.encode_name: field for field in info.fields}[name]
    kind, nullable = _kind(field.type)
    place = event_type.__struct_fields__.index(field.name)
    return Column(name, kind, attrgetter(field.name), nullable and not kind.endswith("_map"), place)


def _kind(found: inspect.Type) -> tuple[Kind, bool]:
    """How a field's type lands, and whether it may be None."""
    if isinstance(found, inspect.Metadata):
        return _kind(found.type)
    if isinstance(found, inspect.UnionType):
        inner = [t for t in found.types if not isinstance(t, inspect.NoneType)]
        kind: Kind = "json" if len(inner) > 1 else _kind(inner[0])[0]
        return kind, len(inner) < len(found.types)
    if isinstance(found, inspect.StrType | inspect.LiteralType):
        return "text", False
    if isinstance(found, inspect.BoolType):
        return "bool", False
    if isinstance(found, inspect.FloatType):
        return "float", False
    if isinstance(found, inspect.IntType):
        small = found.ge == 0 and found.le is not None and found.le <= _MAX_UINT32
        return "uint32" if small else "int64", False
    if isinstance(found, inspect.DictType):
        return _map_kind(found), False
    return "json", False


def _map_kind(found: inspect.DictType) -> Kind:
    key, value = found.key_type, found.value_type
    if isinstance(key, inspect.IntType) and isinstance(value, inspect.IntType):
        return "count_map"
    if isinstance(key, inspect.StrType) and isinstance(value, inspect.StrType):
        return "text_map"
    if isinstance(key, inspect.StrType) and isinstance(value, inspect.FloatType):
        return "float_map"
    return "json"
