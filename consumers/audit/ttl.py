"""Which events a table's TTL takes: their rows are not missing."""

from __future__ import annotations

from consumers.sink.held import rules
from tidemill.io.clickhouse import Store, StoreError

HOURS = 87_600
"""A TTL is looked for among so many hours of the past: ten years."""


def horizon_ms(store: Store, table: str) -> int:
    """Rows of events before this time (epoch milliseconds) go at once, or within an hour; 0: none, or none known."""
    time = "start" if table == "windows" else "time"
    try:
        found = rules(store, table).ttl
        past = " OR ".join(f"toDateTime({rule}) <= now() + 3600" for rule in found)
        if not found:
            return 0
        (row,) = store.rows(
            f"SELECT max({time}_ms) AS at FROM ("
            f"SELECT toUnixTimestamp64Milli(now64(3)) - number * 3600000 AS {time}_ms, "
            f"fromUnixTimestamp64Milli({time}_ms, 'UTC') AS {time} FROM numbers({HOURS})) WHERE {past}"
        )
    except (StoreError, ValueError):
        return 0  # a rule that asks other columns: its rows cannot be told from missing ones
    return int(row["at"] or 0)
