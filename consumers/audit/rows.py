"""Which offsets a table holds, asked of the store in sums: no offset travels unless something is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from consumers.audit.runs import Run
from tidemill.io.clickhouse import Store

CHUNK = 1_000_000
"""Offsets looked at together: what is sorted, or kept as a bitmap, at a time."""
PER_COUNT = 5_000_000
"""Ids compared at a time when repeated ones are counted: some 200 MB in the store."""
EXAMPLES = 5
IDS = {"requests": "call_id", "responses": "answer_id", "feedback": "feedback_id"}
"""What names an event, by table: an upstream producer that sends twice sends the same one twice."""

_WHERE = (
    "_topic = {topic:String} AND _partition < length({lo:Array(UInt64)}) "
    "AND _offset >= {lo:Array(UInt64)}[_partition + 1] AND _offset < {hi:Array(UInt64)}[_partition + 1]"
)
_ONE = "_topic = {topic:String} AND _partition = {partition:UInt32} AND _offset BETWEEN {lo:UInt64} AND {hi:UInt64}"


EARLIER_MS = 3_600_000
"""So much before it arrived, at most, an event is dated; older ones are found by a second look, at the whole table."""


def recent(table: str, since_ms: int | None) -> str:
    """What to select from, in place of ``table``: rows of what arrived since then, found by the table's order.

    Rows of events that were older than EARLIER_MS when they came look absent.
    """
    if since_ms is None:
        return table
    time = "start" if table == "windows" else "time"
    return f"(SELECT * FROM {table} WHERE {time} >= fromUnixTimestamp64Milli({max(0, since_ms - EARLIER_MS)}))"


class Stretch(NamedTuple):
    """The offsets lo (inclusive) to hi (exclusive) of one partition."""

    lo: int
    hi: int


class Chunk(NamedTuple):
    """Up to CHUNK offsets of a partition, and what the table holds of them."""

    lo: int
    hi: int
    """Inclusive."""
    rows: int
    offsets: int
    """Distinct ones."""

    @property
    def whole(self) -> bool:
        """Every offset is there."""
        return self.offsets == self.hi - self.lo + 1


def chunks(store: Store, table: str, topic: str, stretches: Sequence[Stretch]) -> list[list[Chunk]]:
    """For each partition its chunks, those without any row too. Raises Retry, StoreError."""
    sql = (
        f"SELECT _partition AS partition, intDiv(_offset, {CHUNK}) AS chunk, count() AS rows, "
        f"groupBitmap(_offset) AS offsets FROM {table} WHERE {_WHERE} GROUP BY partition, chunk"
    )
    where = {"topic": topic, "lo": [s.lo for s in stretches], "hi": [s.hi for s in stretches]}
    held = {(r["partition"], r["chunk"]): (r["rows"], r["offsets"]) for r in store.rows(sql, where)}
    found: list[list[Chunk]] = []
    for partition, stretch in enumerate(stretches):
        numbers = range(stretch.lo // CHUNK, -(-stretch.hi // CHUNK)) if stretch.hi > stretch.lo else range(0)
        found.append(
            [
                Chunk(
                    max(stretch.lo, number * CHUNK),
                    min(stretch.hi, (number + 1) * CHUNK) - 1,
                    *held.get((partition, number), (0, 0)),
                )
                for number in numbers
            ]
        )
    return found


def absent(store: Store, table: str, topic: str, partition: int, chunk: Chunk) -> list[Run]:
    """The offsets of a chunk without a row, found by comparing neighbours. Raises Retry, StoreError."""
    if not chunk.offsets:
        return [Run(chunk.lo, chunk.hi)]
    sql = (
        "SELECT before + 1 AS lo, here - 1 AS hi FROM (SELECT toInt64(_offset) AS here, "
        "lagInFrame(here, 1, toInt64({lo:UInt64}) - 1) OVER (ORDER BY here "
        "ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS before "
        f"FROM (SELECT DISTINCT _offset FROM {table} WHERE {_ONE} UNION ALL SELECT {{hi:UInt64}} + 1)) "
        "WHERE here > before + 1 ORDER BY lo"
    )
    found = store.rows(sql, _place(topic, partition, chunk.lo, chunk.hi))
    return [Run(row["lo"], row["hi"]) for row in found]


class Repeated(NamedTuple):
    """Some offsets with several rows, and when the first of them arrived."""

    examples: list[int]
    since_ms: int | None


def repeated(store: Store, table: str, topic: str, partition: int, chunk: Chunk) -> Repeated:
    """Which offsets of a chunk have more than one row. Raises Retry, StoreError."""
    sql = (
        f"SELECT _offset AS at, min(_arrival_ms) AS since FROM {table} WHERE {_ONE} "
        f"GROUP BY _offset HAVING count() > 1 ORDER BY at LIMIT {EXAMPLES}"
    )
    found = store.rows(sql, _place(topic, partition, chunk.lo, chunk.hi))
    return Repeated([row["at"] for row in found], found[0]["since"] or None if found else None)


class Upstream(NamedTuple):
    """How often events came twice from whoever produced them."""

    rows: int
    repeated: int
    """Rows beyond the first of their id."""

    @property
    def share(self) -> float:
        """Of all rows, those beyond the first."""
        return self.repeated / self.rows if self.rows else 0.0


def upstream(store: Store, table: str, name: str, topic: str, stretches: Sequence[Stretch], rows: int) -> Upstream:
    """Count ids (column ``name``) that came more than once in these stretches. Raises Retry, StoreError."""
    parts = max(1, -(-rows // PER_COUNT))
    where = {"topic": topic, "lo": [s.lo for s in stretches], "hi": [s.hi for s in stretches], "parts": parts}
    total = distinct = 0
    for part in range(parts):
        (row,) = store.rows(
            f"SELECT count() AS n, uniqExact(pipeline, {name}) AS ids FROM {table} WHERE {_WHERE} "
            f"AND cityHash64({name}) % {{parts:UInt32}} = {{part:UInt32}}",
            {**where, "part": part},
        )
        total, distinct = total + row["n"], distinct + row["ids"]
    return Upstream(total, total - distinct)


def _place(topic: str, partition: int, lo: int, hi: int) -> Mapping[str, object]:
    return {"topic": topic, "partition": partition, "lo": lo, "hi": hi}
