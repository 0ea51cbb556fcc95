"""Whether a projection says what its table says: the same aggregate asked with it and without."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from consumers.audit.report import Projection
from tidemill.io.clickhouse import Store, StoreError

TRIES = 3
_UNKNOWN_TABLE = 60
_NOT_USED = (584, 117)
"""No projection was used; another one was."""


def compare(store: Store, tables: list[str]) -> Iterator[Projection]:
    """Every aggregate projection of these tables. Raises Retry, StoreError."""
    try:
        known = store.rows(
            "SELECT table, name, query FROM system.projections "
            "WHERE database = currentDatabase() AND type = 'Aggregate' AND has({tables:Array(String)}, table)",
            {"tables": tables},
        )
    except StoreError as error:
        if error.code == _UNKNOWN_TABLE:
            return  # a server without that table has no way to say
        raise
    for row in known:
        yield Projection(
            table=row["table"], name=row["name"], equal=_equal(store, row["table"], row["name"], row["query"])
        )


def _equal(store: Store, table: str, name: str, query: str) -> bool | None:
    """Compare until the table stood still meanwhile; None where it never did, or no part of it holds the projection."""
    for _ in range(TRIES):
        before = _totals(store, table, query, "optimize_use_projections = 0")
        try:
            with_it = _totals(
                store, table, query, f"force_optimize_projection = 1, force_optimize_projection_name = '{name}'"
            )
        except StoreError as error:
            if error.code in _NOT_USED:
                return None
            raise
        after = _totals(store, table, query, "optimize_use_projections = 0")
        if _same(before, with_it):
            return True
        if _same(before, after):
            return False
    return None


def _totals(store: Store, table: str, query: str, settings: str) -> list[float]:
    """Groups, and the sum of every column over them."""
    inner = re.sub(r"\bGROUP BY\b", f"FROM {table} GROUP BY", query, count=1)
    (row,) = store.rows(
        "SELECT count(), * APPLY(c -> sum(toFloat64OrZero(ifNull(toString(c), '')))) "
        f"FROM ({inner}) SETTINGS {settings}"
    )
    return [float(value) for value in row.values()]


def _same(one: list[float], other: list[float]) -> bool:
    return len(one) == len(other) and all(
        math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-6) for a, b in zip(one, other, strict=True)
    )
