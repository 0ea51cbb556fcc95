"""Raw rows back as the events they were, each once however often its producer sent it; and the windows as they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec

from tidemill.events import Feedback, InferenceRequest, InferenceResponse, Window
from tidemill.events.inference import Message
from tidemill.io.clickhouse import Store
from tidemill.settings.monitoring import WindowSettings
from tidemill.slices import DIMENSIONS
from tidemill.sql.counting import COUNTED, COUNTS_AT, START, leads
from tidemill.topics import FEEDBACK, REQUESTS, RESPONSES, Topic

CHUNK_ROWS = 50_000
"""Rows read together at most: what is in memory at a time."""
EARLIER_MS = 3_600_000
"""A repeated event is recognised by a copy that counts at most this much before."""

_SLICED_BY = (*DIMENSIONS, "attributes")

_messages = msgspec.json.Decoder(tuple[Message, ...])


class Kind(NamedTuple):
    """How one table is read back. ``columns`` are those the fold looks at, and those an event cannot be without."""

    topic: Topic
    event: Any
    id: str
    columns: tuple[str, ...]
    sliced_by: tuple[str, ...]
    """Columns that are read, too, where a pipeline is sliced."""


KINDS = (
    Kind(
        REQUESTS,
        InferenceRequest,
        "call_id",
        ("call_id", "gen_ai_conversation_id", "gen_ai_input_messages", "input_features", "input_words"),
        _SLICED_BY,
    ),
    Kind(
        RESPONSES,
        InferenceResponse,
        "answer_id",
        (
            "call_id",
            "answer_id",
            "role",
            "call_time_ms",
            "gen_ai_conversation_id",
            "model_version",
            "variant",
            "status",
            "gen_ai_response_finish_reason",
            "gen_ai_usage_input_tokens",
            "gen_ai_usage_cached_tokens",
            "gen_ai_usage_output_tokens",
            "queue_ms",
            "ttft_ms",
            "tpot_ms",
            "e2e_ms",
            "cost_micros",
            "gen_ai_output_text",
            "output_features",
        ),
        _SLICED_BY,
    ),
    Kind(
        FEEDBACK,
        Feedback,
        "feedback_id",
        (
            "feedback_id",
            "call_id",
            "answer_id",
            "call_time_ms",
            "model_version",
            "variant",
            "kind",
            "source",
            "label_source",
            "metric",
            "score",
        ),
        ("slices",),
    ),
)


class Counted(NamedTuple):
    """An event and the time it counts at, epoch milliseconds."""

    time_ms: int
    event: Any


class Piece(NamedTuple):
    """Windows that are computed together: those that start in since..until (exclusive), read in ``parts``."""

    since_ms: int
    until_ms: int
    rows: int
    parts: int


class Source:
    """The raw rows and windows of one pipeline; ask for the pieces first. Methods block and raise Retry, StoreError."""

    def __init__(self, store: Store, settings: WindowSettings, pipeline: str, *, sliced: bool = False) -> None:
        self._store = store
        self._pipeline = pipeline
        self._sliced = sliced
        self._size_ms = settings.size_s * 1000
        self._where: dict[str, Any] = {
            "lead": 0,
            "pipeline": pipeline,
            "size": self._size_ms,
            "skew": settings.max_clock_skew_s * 1000,
        }

    def pieces(self, since_ms: int, until_ms: int) -> list[Piece]:
        """All windows of the time, those without raw rows among them, in pieces of at most CHUNK_ROWS rows."""
        leading = [row for kind in KINDS for row in self._rows(leads(kind.topic.table or ""), since_ms, until_ms)]
        self._where["lead"] = max((row["lead"] for row in leading), default=0)
        by_start: dict[int, int] = {}
        for kind in KINDS:
            sql = (
                f"SELECT {START} AS start, count() AS n FROM {kind.topic.table} "
                f"WHERE pipeline = {{pipeline:String}} AND {COUNTED} GROUP BY start"
            )
            for row in self._rows(sql, since_ms, until_ms):
                by_start[row["start"]] = by_start.get(row["start"], 0) + row["n"]
        return list(_pieces(sorted(by_start.items()), since_ms, until_ms))

    def events(self, kind: Kind, piece: Piece, part: int) -> list[Counted]:
        """One part of a piece: all copies of an event are in the same part, and the first of them is given."""
        where = {"parts": piece.parts, "part": part, "earlier": piece.since_ms - EARLIER_MS}
        sql = _events_sql(kind, kind.sliced_by if self._sliced else ())
        rows = self._rows(sql, piece.since_ms, piece.until_ms, **where)
        return [Counted(row.pop("counted"), _event(kind, self._pipeline, row)) for row in rows]

    def windows(self, since_ms: int, until_ms: int) -> list[Window]:
        """Each figure's row of the highest revision."""
        found = self._rows(_WINDOWS, since_ms, until_ms)
        return [Window(**(row | {"histogram": dict(row["histogram"]) or None})) for row in found]

    def _rows(self, sql: str, since_ms: int, until_ms: int, **more: int) -> list[dict[str, Any]]:
        return self._store.rows(sql, {**self._where, "since": since_ms, "until": until_ms, **more})


def pipelines(store: Store, since_ms: int, until_ms: int) -> list[str]:
    """The pipelines with raw rows in this time."""
    found: set[str] = set()
    for kind in KINDS:
        sql = (
            f"SELECT DISTINCT pipeline FROM {kind.topic.table} WHERE time >= fromUnixTimestamp64Milli({{since:Int64}}) "
            "AND time < fromUnixTimestamp64Milli({until:Int64})"
        )
        found |= {row["pipeline"] for row in store.rows(sql, {"since": since_ms, "until": until_ms})}
    return sorted(found)


def _pieces(by_start: list[tuple[int, int]], since_ms: int, until_ms: int) -> Iterator[Piece]:
    since, rows = since_ms, 0
    for start, more in by_start:
        if rows and rows + more > CHUNK_ROWS:
            yield _piece(since, start, rows)
            since, rows = start, 0
        rows += more
    if since < until_ms:
        yield _piece(since, until_ms, rows)


def _piece(since_ms: int, until_ms: int, rows: int) -> Piece:
    return Piece(since_ms, until_ms, rows, max(1, -(-rows // CHUNK_ROWS)))


def _events_sql(kind: Kind, more: tuple[str, ...]) -> str:
    columns, table = ", ".join((*kind.columns, *more)), kind.topic.table
    mine = f"pipeline = {{pipeline:String}} AND cityHash64({kind.id}) % {{parts:UInt32}} = {{part:UInt32}}"
    return (
        f"SELECT {columns}, time_ms, counted FROM (SELECT {columns}, time_ms, {COUNTS_AT} AS counted, _partition, "
        f"_offset FROM {table} WHERE {mine} AND {COUNTED} "
        f"ORDER BY counted, _partition, _offset LIMIT 1 BY {kind.id}) "
        f"WHERE {kind.id} NOT IN (SELECT {kind.id} FROM {table} WHERE {mine} "
        f"AND time >= fromUnixTimestamp64Milli({{earlier:Int64}}) AND {COUNTS_AT} < {{since:Int64}} "
        f"AND {kind.id} IN (SELECT {kind.id} FROM {table} WHERE {mine} AND {COUNTED})) "
        "ORDER BY counted, _partition, _offset"
    )


def _event(kind: Kind, pipeline: str, row: dict[str, Any]) -> Any:
    for name in ("input_features", "input_words", "output_features", "attributes", "slices"):
        if name in row:
            row[name] = dict(row[name])
    if row.get("gen_ai_input_messages") is not None:
        row["gen_ai_input_messages"] = _messages.decode(row["gen_ai_input_messages"])
    return kind.event(pipeline=pipeline, **row)


_WINDOWS = """
SELECT pipeline, model_version, variant, role, slice, metric, unit, start_ms, end_ms, n, total, total_sq, value,
       p50, p95, p99, histogram, sample_share, complete, revision, time_ms
FROM windows
WHERE pipeline = {pipeline:String} AND start_ms >= {since:Int64} AND start_ms < {until:Int64}
  AND end_ms = start_ms + {size:Int64}
  AND start >= fromUnixTimestamp64Milli({since:Int64}) AND start < fromUnixTimestamp64Milli({until:Int64})
ORDER BY revision DESC LIMIT 1 BY start_ms, model_version, variant, role, slice, metric
"""
