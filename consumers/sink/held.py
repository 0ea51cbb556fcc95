"""What the store says of a table: whether its rows may be counted, its TTL, and which rows of a block it holds."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from consumers.sink.batch import Block
from consumers.sink.heal import Present
from tidemill.errors import Retry
from tidemill.io.clickhouse import Store, StoreError

MARGIN_S = 60
"""Rows this near to the end of their life count as expired, seconds."""
_MINUTE_MS = 60_000
_UNKNOWN_NAME = 47
_MOVES = re.compile(r" (RECOMPRESS|TO DISK|TO VOLUME) ")


class Unjudged(ValueError):
    """Which rows a table's TTL takes is not known here."""


@dataclass(frozen=True)
class Rules:
    """How a table treats its rows."""

    engine: str
    ttl: tuple[str, ...]
    """Expressions of the time at which a row is deleted."""

    @property
    def countable(self) -> bool:
        """Whether a row that cannot be seen is not there. A replica may lag; other engines merge rows into one."""
        return self.engine == "MergeTree"


def rules(store: Store, table: str) -> Rules:
    """How the table treats its rows now. Raises Retry or StoreError, Unjudged."""
    sql = "SELECT engine, engine_full FROM system.tables WHERE database = currentDatabase() AND name = {table:String}"
    for row in store.rows(sql, {"table": table}):
        return Rules(row["engine"], deletions(row["engine_full"]))
    raise Retry(f"table {table} is not there (yet): run `tidemill init`")


def deletions(engine: str) -> tuple[str, ...]:
    """The expressions in a table's TTL that delete rows, from ``engine_full``; rules that move rows are left out.

    Raises Unjudged for rules that delete by a condition or by groups: which rows they take is not known here.
    """
    found = re.search(r" TTL (.*?)(?: SETTINGS .*)?$", engine)
    kept = []
    for rule in _apart(found[1]) if found else ():
        if " WHERE " in rule or " GROUP BY " in rule:
            raise Unjudged(f"TTL {rule}: rows that it takes cannot be told from rows that are missing")
        if not _MOVES.search(f"{rule} "):
            kept.append(rule.removesuffix(" DELETE"))
    return tuple(kept)


def _apart(rules: str) -> list[str]:
    """Split at the commas outside of parentheses."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(rules):
        depth += (letter == "(") - (letter == ")")
        if letter == "," and depth == 0:
            parts.append(rules[start:place].strip())
            start = place + 1
    return [*parts, rules[start:].strip()]


def present(store: Store, block: Block) -> Present:
    """What the table holds of the block. Cheap, since times bound it. Raises Retry or StoreError.

    Arrival times tell rows of a topic that was deleted and made again (with 0: from before they were kept).
    """
    rows = block.rows
    bounds = {
        f"{edge}_{name}": getattr(pc, edge)(rows[column]).as_py()
        for name, column in (("offset", "_offset"), ("time", block.time), ("arrival", "_arrival_ms"))
        for edge in ("min", "max")
    }
    where = {"topic": rows["_topic"][0].as_py(), "partition": rows["_partition"][0].as_py()} | bounds
    time = block.time.removesuffix("_ms")
    found = store.arrow(
        f"SELECT _offset FROM {block.table} WHERE _topic = {{topic:String}} AND _partition = {{partition:UInt32}} "
        "AND _offset BETWEEN {min_offset:UInt64} AND {max_offset:UInt64} "
        f"AND {time} BETWEEN fromUnixTimestamp64Milli({{min_time:Int64}}, 'UTC') "
        "AND fromUnixTimestamp64Milli({max_time:Int64}, 'UTC') "
        "AND (_arrival_ms BETWEEN {min_arrival:Int64} AND {max_arrival:Int64} OR _arrival_ms = 0)",
        where,
    )
    return Present(found.num_rows, frozenset(found["_offset"].to_pylist()) if found.num_rows else frozenset())


def expired(store: Store, block: Block, ttl: tuple[str, ...]) -> frozenset[int]:
    """Offsets of the block's rows that a TTL takes at once, or within a minute or two.

    Raises Retry or StoreError, Unjudged where the TTL asks for more than the block's time.
    """
    if not ttl:
        return frozenset()
    minutes = [ms // _MINUTE_MS for ms in block.rows[block.time].to_pylist()]
    gone = expired_minutes(store, sorted(set(minutes)), block.time, ttl)
    offsets = block.rows["_offset"].to_pylist()
    return frozenset(offset for offset, minute in zip(offsets, minutes, strict=True) if minute in gone)


def expired_minutes(store: Store, minutes: Sequence[int], time_ms: str, ttl: tuple[str, ...]) -> Collection[int]:
    """Those of the minutes since 1970 whose rows a TTL takes. Raises Retry or StoreError, Unjudged.

    ``time_ms``: the column that the TTL may ask for, as it is or as a time.
    """
    past = " OR ".join(f"toDateTime({rule}) <= now() + {MARGIN_S}" for rule in ttl)
    listed = ",".join(map(str, minutes))
    sql = (
        f"SELECT minute FROM (SELECT arrayJoin([{listed}]) AS minute, toInt64(minute) * {_MINUTE_MS} AS {time_ms}, "
        f"fromUnixTimestamp64Milli({time_ms}, 'UTC') AS {time_ms.removesuffix('_ms')}) WHERE {past}"
    )
    try:
        return {row["minute"] for row in store.rows(sql)}
    except StoreError as error:
        if error.code != _UNKNOWN_NAME:
            raise
        raise Unjudged(f"TTL {', '.join(ttl)}: only {time_ms.removesuffix('_ms')} can be judged") from error
