"""Native blocks of a later protocol revision than the one chDB writes. Pure.

chDB writes Native blocks of revision 0. A client that sends ``client_protocol_version`` >= 54454 (Grafana's data
source does) expects two additions: block information before each block, and one byte before each column's rows that
says whether its serialization is a custom one (it never is here). To put the byte in its place the length of every
column must be known, so columns are walked by their types.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from tidemill.local.store.faults import NOT_IMPLEMENTED, refusal

CUSTOM_SERIALIZATION_REVISION: Final = 54454
# Field 1: is_overflows = 0. Field 2: bucket_num = -1. Field 0: the end.
_BLOCK_INFORMATION = b"\x01\x00\x02\xff\xff\xff\xff\x00"
_WIDTHS: Final = {
    **dict.fromkeys(("Bool", "Int8", "UInt8", "Enum8", "Nothing"), 1),
    **dict.fromkeys(("Int16", "UInt16", "Enum16", "Date", "BFloat16"), 2),
    **dict.fromkeys(("Int32", "UInt32", "Float32", "Date32", "DateTime", "IPv4", "Decimal32", "Time"), 4),
    **dict.fromkeys(("Int64", "UInt64", "Float64", "DateTime64", "Decimal64", "Time64"), 8),
    **dict.fromkeys(("Int128", "UInt128", "UUID", "IPv6", "Decimal128", "Point"), 16),
    **dict.fromkeys(("Int256", "UInt256", "Decimal256"), 32),
}
_DECIMALS: Final = ((9, 4), (18, 8), (38, 16), (76, 32))
_ALIASES: Final = {
    **dict.fromkeys(("Ring", "LineString"), "Array(Point)"),
    **dict.fromkeys(("Polygon", "MultiLineString"), "Array(Array(Point))"),
    "MultiPolygon": "Array(Array(Array(Point)))",
}
_NAMED = re.compile(r"(?:`(?:[^`\\]|\\.)*`|[A-Za-z_]\w*) +(?=[A-Z])")


class Kind(NamedTuple):
    """A type's name and its arguments, which are types or literals as text."""

    name: str
    arguments: tuple[str, ...]


def upgraded(block: bytes) -> bytes:
    """``block`` (one or several Native blocks of revision 0) as blocks of revision 54454.

    Raises StoreFault for a column whose type has no fixed layout (Dynamic, JSON, aggregate states).
    """
    out: list[bytes] = []
    at = 0
    while at < len(block):
        columns, start = _varint(block, at)
        rows, start = _varint(block, start)
        out += (_BLOCK_INFORMATION, block[at:start])
        at = start
        for _ in range(columns):
            name_size, name_at = _varint(block, at)
            size, type_at = _varint(block, name_at + name_size)
            data = type_at + size
            kind = block[type_at:data].decode()
            end = _walked(block, _prefixed(kind, data), kind, rows) if rows else data
            out += (block[at:data], b"\x00", block[data:end])
            at = end
    return b"".join(out)


def parsed(kind: str) -> Kind:
    """``Array(Nullable(String))`` as ``Kind('Array', ('Nullable(String)',))``; parts split at the top level only."""
    name, _, inside = kind.partition("(")
    return Kind(name, tuple(_split(inside[:-1])) if inside else ())


def _split(inside: str) -> Iterator[str]:
    depth, start, quote, skip = 0, 0, "", False
    for at, sign in enumerate(inside):
        if skip:
            skip = False
        elif quote:
            skip = sign == "\\"
            quote = "" if sign == quote else quote
        elif sign in "'`":
            quote = sign
        elif sign in "()":
            depth += 1 if sign == "(" else -1
        elif sign == "," and depth == 0:
            yield inside[start:at].strip()
            start = at + 1
    if inside.strip():
        yield inside[start:].strip()


def _elements(kind: Kind) -> list[str]:
    """The types inside, without the names a Tuple's or Nested's elements may carry."""
    if kind.name == "SimpleAggregateFunction":
        return [kind.arguments[1]]
    if kind.name in ("Tuple", "Nested"):
        return [_NAMED.sub("", element, count=1) if _NAMED.match(element) else element for element in kind.arguments]
    return list(kind.arguments)


def _prefixed(text: str, at: int) -> int:
    # Dictionaries announce a version each, before any row of the whole column.
    kind = parsed(_ALIASES.get(text, text))
    if kind.name == "LowCardinality":
        return at + 8
    if kind.name in ("Array", "Map", "Nested", "Tuple", "Nullable", "SimpleAggregateFunction"):
        for element in _elements(kind):
            at = _prefixed(element, at)
    return at


def _walked(block: bytes, at: int, text: str, rows: int) -> int:
    kind = parsed(_ALIASES.get(text, text))
    name = kind.name
    if name in _WIDTHS:
        return at + rows * _WIDTHS[name]
    if name.startswith("Interval"):
        return at + rows * 8
    if name == "String":
        return _strings(block, at, rows)
    if name == "FixedString":
        return at + rows * int(kind.arguments[0])
    if name == "Decimal":
        return at + rows * next(width for digits, width in _DECIMALS if int(kind.arguments[0]) <= digits)
    if name == "Nullable":
        return _walked(block, at + rows, kind.arguments[0], rows)
    if name == "LowCardinality":
        return _dictionary(block, at, kind.arguments[0]) if rows else at
    if name == "Tuple" and not kind.arguments:
        return at + rows
    if name in ("Array", "Map", "Nested"):
        inner = int.from_bytes(block[at + 8 * rows - 8 : at + 8 * rows], "little") if rows else 0
        at, rows = at + 8 * rows, inner
    elif name not in ("Tuple", "SimpleAggregateFunction"):
        raise refusal(
            NOT_IMPLEMENTED, f"Native of this client_protocol_version cannot carry {text} here: select toString of it"
        )
    for element in _elements(kind):
        at = _walked(block, at, element, rows)
    return at


def _dictionary(block: bytes, at: int, kind: str) -> int:
    width = 1 << (block[at] & 0xFF)
    keys = int.from_bytes(block[at + 8 : at + 16], "little")
    inner = parsed(kind)
    at = _walked(block, at + 16, inner.arguments[0] if inner.name == "Nullable" else kind, keys)
    return at + 8 + width * int.from_bytes(block[at : at + 8], "little")


def _strings(block: bytes, at: int, rows: int) -> int:
    for _ in range(rows):
        size = block[at]
        at += 1
        if size >= 0x80:
            size, at = _varint(block, at - 1)
        at += size
    return at


def _varint(block: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = block[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
