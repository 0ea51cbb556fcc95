"""Native blocks of a later revision: the additions are in the right places and nothing else changed."""

from __future__ import annotations

import pytest

from tidemill.local.store.faults import StoreFault
from tidemill.local.store.native import Kind, parsed, upgraded

_INFORMATION = b"\x01\x00\x02\xff\xff\xff\xff\x00"


def _text(text: str) -> bytes:
    return bytes([len(text)]) + text.encode()


def _offsets(*values: int) -> bytes:
    return b"".join(value.to_bytes(8, "little") for value in values)


# type, rows of two, in the layout the engine writes
_COLUMNS = [
    ("UInt64", _offsets(1, 2)),
    ("String", b"\x01a" + b"\xac\x02" + b"z" * 300),
    ("Nullable(UInt16)", b"\x00\x01" + b"\x01\x00\x00\x00"),
    ("Array(String)", _offsets(1, 3) + b"\x01a\x00\x02bc"),
    ("Array(Array(UInt8))", _offsets(0, 1) + _offsets(3) + b"\x01\x02\x03"),
    ("Map(String, UInt8)", _offsets(1, 1) + b"\x01k" + b"\x07"),
    ("Tuple(a UInt8, `b c` String)", b"\x01\x02" + b"\x01x\x00"),
    ("Decimal(18, 3)", bytes(16)),
    ("DateTime64(3, 'UTC')", bytes(16)),
    ("FixedString(3)", b"abcdef"),
    ("Enum8('a, (' = 1, 'b' = 2)", b"\x01\x02"),
    ("SimpleAggregateFunction(sum, UInt32)", bytes(8)),
    ("LowCardinality(String)", _offsets(1) + _offsets(0x600, 2) + b"\x00\x01x" + _offsets(2) + b"\x00\x01"),
    ("LowCardinality(Nullable(String))", _offsets(1) + _offsets(0x600, 1) + b"\x00" + _offsets(2) + b"\x00\x00"),
    ("Array(LowCardinality(String))", _offsets(1) + _offsets(0, 0)),
    ("IntervalDay", bytes(16)),
    ("Ring", _offsets(1, 1) + bytes(16)),
]


@pytest.mark.parametrize(("kind", "rows"), _COLUMNS)
def test_each_type_is_walked_to_its_end(kind: str, rows: bytes) -> None:
    head, tail = _text("c") + _text(kind), _text("end") + _text("UInt8")
    block = b"\x02\x02" + head + rows + tail + b"\x08\x09"
    assert upgraded(block + block) == (_INFORMATION + b"\x02\x02" + head + b"\x00" + rows + tail + b"\x00\x08\x09") * 2


def test_a_block_without_rows_keeps_its_columns() -> None:
    assert upgraded(b"\x01\x00\x01c\x06String") == _INFORMATION + b"\x01\x00\x01c\x06String\x00"


def test_a_type_without_a_fixed_layout_is_refused_by_name() -> None:
    with pytest.raises(StoreFault, match=r"AggregateFunction\(sum, UInt8\)"):
        upgraded(b"\x01\x01\x01c" + _text("AggregateFunction(sum, UInt8)") + b"\x00")


def test_types_are_split_at_the_top_level_only() -> None:
    assert parsed("Map(String, Tuple(a Int8, b Enum8('x, (' = 1)))") == Kind(
        "Map", ("String", "Tuple(a Int8, b Enum8('x, (' = 1))")
    )
