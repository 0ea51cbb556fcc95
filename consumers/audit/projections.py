"""Whether a projection says what its table says: the same aggregate asked with it and without."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator, Mapping

from consumers.audit.report import Projection
from tidemill.errors import Retry
from tidemill.io.clickhouse import Store, StoreError

log = logging.getLogger(__name__)
TRIES = 3
_NOT_USED = (584, 117)
"""No projection was used; another one was."""


MINUTE = "toStartOfMinute(time)"


def compare(store: Store, tables: Mapping[str, int | None]) -> Iterator[Projection]:
    """Every aggregate projection of these tables; given is since when, epoch milliseconds (None: all). Raises Retry."""
    try:
        known = store.rows(
            "SELECT table, name, query FROM system.projections "
            "WHERE database = currentDatabase() AND type = 'Aggregate' AND has({tables:Array(String)}, table)",
            {"tables": list(tables)},
        )
    except StoreError as error:
        log.info("projections are not compared: %s", error)  # the server lacks that table, or does not show it
        return
    for row in known:
        table, name = row["table"], row["name"]
        try:
            equal = _equal(store, since(table, tables[table]), name, row["query"])
        except (Retry, StoreError) as error:
            log.info("projection %s of %s is not compared: %s", name, table, error)
            equal = None
        yield Projection(table=table, name=name, equal=equal)


def since(table: str, since_ms: int | None) -> str:
    """What follows FROM: the table, from the minute of a time on, in words that a projection by minute can answer."""
    if since_ms is None:
        return table
    return f"{table} WHERE {MINUTE} >= toStartOfMinute(fromUnixTimestamp64Milli({since_ms}))"


def _equal(store: Store, source: str, name: str, query: str) -> bool | None:
    """Compare until the table stood still meanwhile; None where it never did, or no part of it holds the projection."""
    for _ in range(TRIES):
        before = _totals(store, source, query, "optimize_use_projections = 0")
        try:
            with_it = _totals(
                store, source, query, f"force_optimize_projection = 1, force_optimize_projection_name = '{name}'"
            )
        except StoreError as error:
            if error.code in _NOT_USED:
                return None
            raise
        after = _totals(store, source, query, "optimize_use_projections = 0")
        if _same(before, with_it):
            return True
        if _same(before, after):
            return False
    return None


def _totals(store: Store, source: str, query: str, settings: str) -> list[float]:
    """Groups, and the sum of every column over them."""
    inner = re.sub(r"\bGROUP BY\b", f"FROM {source} GROUP BY", query, count=1)
    (row,) = store.rows(
        "SELECT count(), * APPLY(c -> sum(toFloat64OrZero(ifNull(toString(c), '')))) "
        f"FROM ({inner}) SETTINGS {settings}"
    )
    return [float(value) for value in row.values()]


def _same(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6) for a, b in zip(one, other, strict=True)
    )
