"""The calls on one side of an alarm's change, as columns: one bounded query."""

from __future__ import annotations

from typing import Any

import msgspec

from tidemill.io.clickhouse import Store

MOST_ROWS = 2_000
_SKEW_MS = 60_000
_WINDOW_MS = 6 * 3_600_000
"""Reference calls are at most this much older than the change."""

_CALLS = """
SELECT r.call_id AS call, r.time_ms AS at, r.input_features AS input, r.gen_ai_input_messages AS messages,
       s.status AS status, s.e2e_ms AS e2e_ms, s.ttft_ms AS ttft_ms, s.output_features AS output,
       s.gen_ai_usage_output_tokens AS output_tokens, s.gen_ai_output_text AS answer, q.judged AS score
FROM
(
    SELECT call_id, time_ms, input_features, gen_ai_input_messages FROM requests
    WHERE pipeline = {pipeline:String} AND time_ms >= {since:Int64} AND time_ms < {until:Int64}
      AND time >= fromUnixTimestamp64Milli({since:Int64})
    ORDER BY time_ms DESC LIMIT {most:UInt32}
) AS r
LEFT JOIN
(
    SELECT call_id, status, e2e_ms, ttft_ms, output_features, gen_ai_usage_output_tokens, gen_ai_output_text
    FROM responses
    WHERE pipeline = {pipeline:String} AND role = 'client' AND time >= fromUnixTimestamp64Milli({early:Int64})
    LIMIT 1 BY call_id
) AS s ON s.call_id = r.call_id
LEFT JOIN
(
    SELECT call_id, argMax(score, time_ms) AS judged FROM feedback
    WHERE pipeline = {pipeline:String} AND score IS NOT NULL AND variant != 'shadow'
      AND time >= fromUnixTimestamp64Milli({early:Int64})
    GROUP BY call_id
) AS q ON q.call_id = r.call_id
ORDER BY at
SETTINGS join_use_nulls = 1
"""


def before(store: Store, pipeline: str, change_ms: int) -> list[dict[str, Any]]:
    """The last calls before the change. Raises Retry when the store is away."""
    return _calls(store, pipeline, max(change_ms - _WINDOW_MS, 0), change_ms)


def after(store: Store, pipeline: str, change_ms: int, now_ms: int) -> list[dict[str, Any]]:
    """The newest calls since the change. Raises Retry when the store is away."""
    return _calls(store, pipeline, change_ms, now_ms + _SKEW_MS)


def _calls(store: Store, pipeline: str, since_ms: int, until_ms: int) -> list[dict[str, Any]]:
    rows = store.rows(
        _CALLS,
        {
            "pipeline": pipeline,
            "since": since_ms,
            "until": until_ms,
            "early": max(since_ms - _SKEW_MS, 0),
            "most": MOST_ROWS,
        },
    )
    return [columns(row) for row in rows]


def columns(row: dict[str, Any]) -> dict[str, Any]:
    """One call's figures and texts, flat: pure. What is unknown is None, never 0."""
    flat: dict[str, Any] = {**dict(row["input"] or ()), **dict(row["output"] or ())}
    flat |= {name: row[name] for name in ("e2e_ms", "ttft_ms", "output_tokens", "score")}
    flat["failed"] = None if row["status"] is None else float(row["status"] not in ("ok", "cancelled"))
    flat["input_text"] = _users_text(row["messages"])
    flat["output_text"] = row["answer"]
    return flat


def _users_text(messages: str | None) -> str | None:
    if not messages:
        return None
    said = msgspec.json.decode(messages)
    return "\n".join(message["content"] for message in said if message.get("role") == "user") or None
