"""The newest decisions on what begins a retraining, as the store has them: for the console and commands."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import msgspec

from tidemill import sql
from tidemill.events import RetrainDecision
from tidemill.io.clickhouse import Store

SINCE_MS = 30 * 86_400_000
"""Older ones are not shown."""


def latest(store: Store, now_ms: int, most: int) -> dict[str, list[RetrainDecision]]:
    """At most so many by pipeline, newest first. Raises Retry or StoreError."""
    found: dict[str, list[RetrainDecision]] = defaultdict(list)
    for row in store.rows(sql.query("latest_decisions"), {"since": now_ms - SINCE_MS, "most": most}):
        found[row["pipeline"]].append(_decision(row))
    return found


def _decision(row: dict[str, Any]) -> RetrainDecision:
    parts = {name: msgspec.json.decode(row[name]) for name in ("reasons", "signals")}
    return msgspec.convert(row | parts, RetrainDecision)
