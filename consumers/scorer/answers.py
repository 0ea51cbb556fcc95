"""Looks answers up in ClickHouse: one bounded query for all labels that are due."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from consumers.scorer.scores import Answer
from tidemill.events import Feedback
from tidemill.io.clickhouse import Store

_EARLY_MS = 60_000
"""A producer's clock may be this far off; answers end after their call began."""


def find(store: Store, labels: Sequence[Feedback]) -> dict[str, list[Answer]]:
    """Finished answers with text, by call id: one per answer id, clients' and shadows' alike.

    Raises Retry when the store is away. The ids stand in the query's body (they are UUIDs by schema), not in its
    address, which servers bound.
    """
    if not labels:
        return {}
    ids = ",".join(f"'{call_id}'" for call_id in sorted({label.call_id for label in labels}))
    since = min(label.call_time_ms for label in labels) - _EARLY_MS
    rows = store.rows(
        "SELECT call_id, answer_id, role, model_version, variant, call_time_ms, gen_ai_output_text AS text, "
        "tenant, prompt_version, input_language, attributes "
        "FROM responses WHERE pipeline IN {pipelines:Array(String)} "
        "AND time >= fromUnixTimestamp64Milli({since:Int64}) "
        f"AND status = 'ok' AND gen_ai_output_text IS NOT NULL AND call_id IN ({ids}) LIMIT 1 BY answer_id",
        {"pipelines": sorted({label.pipeline for label in labels}), "since": max(since, 0)},
    )
    found: defaultdict[str, list[Answer]] = defaultdict(list)
    for row in rows:
        found[row["call_id"]].append(Answer(**row | {"attributes": dict(row["attributes"])}))
    return found


def landed(store: Store, labels: Sequence[Feedback]) -> set[str]:
    """Which of these labels' own rows are in the store. Raises Retry when the store is away."""
    if not labels:
        return set()
    calls = ",".join(f"'{call_id}'" for call_id in sorted({label.call_id for label in labels}))
    rows = store.rows(
        "SELECT DISTINCT feedback_id FROM feedback WHERE pipeline IN {pipelines:Array(String)} "
        "AND time >= fromUnixTimestamp64Milli({since:Int64}) "
        f"AND call_id IN ({calls})",
        {
            "pipelines": sorted({label.pipeline for label in labels}),
            "since": max(min(label.time_ms for label in labels) - _EARLY_MS, 0),
        },
    )
    return {row["feedback_id"] for row in rows}
