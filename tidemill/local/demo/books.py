"""Counts what happened, anew from the tables: rows of every call, qualities by time, webhooks received."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from tidemill.errors import TidemillError
from tidemill.io.clickhouse import Store


@dataclass(frozen=True)
class Rows:
    """Rows in the tables, against the calls the users know of."""

    requests: int
    client_answers: int
    shadow_answers: int
    feedback: int
    scores: int
    lost: int
    """Answered calls without a request row, or without a client's answer row of status ``ok``."""
    duplicates: int
    """Rows beyond the first of any request, answer or feedback."""


_COUNTS = """
SELECT
    (SELECT count() FROM requests) AS requests,
    (SELECT countIf(role = 'client') FROM responses) AS client_answers,
    (SELECT countIf(role = 'shadow') FROM responses) AS shadow_answers,
    (SELECT count() FROM feedback) AS feedback,
    (SELECT countIf(source = 'scorer') FROM feedback) AS scores,
    (SELECT count() - uniqExact(call_id) FROM requests) AS twice_requests,
    (SELECT count() - uniqExact(answer_id) FROM responses) AS twice_answers,
    (SELECT count() - uniqExact(feedback_id) FROM feedback) AS twice_feedback
"""


def count_rows(store: Store, answered: Collection[str]) -> Rows:
    """Count everything once. ``answered`` are the ids of the calls whose answer reached the users."""
    counts = store.rows(_COUNTS)[0]
    asked = _ids(store, "SELECT call_id FROM requests")
    said = _ids(store, "SELECT call_id FROM responses WHERE role = 'client' AND status = 'ok'")
    return Rows(
        requests=counts["requests"],
        client_answers=counts["client_answers"],
        shadow_answers=counts["shadow_answers"],
        feedback=counts["feedback"],
        scores=counts["scores"],
        lost=sum(call not in asked or call not in said for call in answered),
        duplicates=counts["twice_requests"] + counts["twice_answers"] + counts["twice_feedback"],
    )


def settled_rows(
    store: Store, answered: Collection[str], wait: Callable[[float], object], *, within_s: float = 60
) -> Rows:
    """Count until nothing is lost and two counts agree, or time is up; then the last count stands."""
    before: Rows | None = None
    for _ in range(int(within_s)):
        try:
            now = count_rows(store, answered)
        except TidemillError:
            now = None
        if now is not None and now.lost == 0 and now == before:
            return now
        before = now or before
        wait(1.0)
    return before if before is not None else count_rows(store, answered)


@dataclass(frozen=True)
class Quality:
    """Number and mean of scores; the mean is None without any."""

    n: int
    mean: float | None


_SCORES = """
FROM feedback AS s LEFT JOIN feedback AS label ON label.feedback_id = s.source_feedback_id
WHERE s.pipeline = {pipeline:String} AND s.source = 'scorer' AND s.metric = {metric:String}
    AND s.variant != 'shadow' AND s.label_source = 'audit'
    AND s.call_time_ms >= {from_ms:Int64} AND s.call_time_ms < {to_ms:Int64}
"""


def quality(store: Store, pipeline: str, metric: str, from_ms: int, to_ms: int) -> Quality:
    """The trusted scores of clients' answers to calls made in [from, to)."""
    return _mean(_by_label(store, pipeline, metric, from_ms, to_ms).values())


def quality_by_share(
    store: Store, pipeline: str, metric: str, from_ms: int, to_ms: int, labels: Collection[str]
) -> tuple[Quality, Quality]:
    """As ``quality``, of answers whose true label is among ``labels``, and of the others."""
    found = _by_label(store, pipeline, metric, from_ms, to_ms)
    inside = [each for label, each in found.items() if label in labels]
    outside = [each for label, each in found.items() if label not in labels]
    return _mean(inside), _mean(outside)


def _by_label(store: Store, pipeline: str, metric: str, from_ms: int, to_ms: int) -> dict[str, tuple[int, float]]:
    rows = store.rows(
        f"SELECT label.value AS label, count() AS n, sum(s.score) AS total {_SCORES} GROUP BY label",
        {"pipeline": pipeline, "metric": metric, "from_ms": from_ms, "to_ms": to_ms},
    )
    return {row["label"] or "": (row["n"], row["total"]) for row in rows}


def _mean(counted: Iterable[tuple[int, float]]) -> Quality:
    pairs = list(counted)
    n = sum(count for count, _ in pairs)
    return Quality(n, sum(total for _, total in pairs) / n if n else None)


def _ids(store: Store, sql: str) -> set[str]:
    table = store.arrow(sql)
    return set(table.column(0).to_pylist()) if table.num_columns else set()
