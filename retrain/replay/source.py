"""A pipeline's past out of ClickHouse."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from retrain.replay.history import Calls, Estimate, History, Label, Training
from tidemill import sql
from tidemill.clock import rfc3339
from tidemill.errors import Stop
from tidemill.events import ScorePoint, ThresholdData, ThresholdEvent
from tidemill.io.clickhouse import Store

DAY_MS = 86_400_000
Progress = Callable[[int, int], None]
_data = msgspec.json.Decoder(ThresholdData)


def read(store: Store, pipeline: str, metric: str, since_ms: int, until_ms: int, progress: Progress) -> History:
    """Everything that a replay looks at, day by day; ``progress(days done, days)``. Blocks.

    Raises Retry or StoreError, and Stop where there are no scores: a replay then has nothing to go by.
    """
    where: dict[str, Any] = {"pipeline": pipeline, "metric": metric}
    scores: list[ScorePoint] = []
    labels: list[Label] = []
    windows: list[tuple[int, int, int]] = []
    days = list(range(since_ms, until_ms, DAY_MS))
    for done, day in enumerate(days, start=1):
        part = where | {"since": day, "until": min(day + DAY_MS, until_ms)}
        scores += (ScorePoint(metric=metric, **row) for row in _rows(store, "replay_scores", part))
        labels += (Label(**row) for row in _rows(store, "replay_labels", part))
        windows += ((r["start_ms"], r["end_ms"], r["answers"]) for r in _rows(store, "replay_calls", part))
        progress(done, len(days))
    if not scores:
        raise Stop(_nothing(store, pipeline, metric, since_ms, until_ms))
    whole = where | {"since": since_ms, "until": until_ms}
    alarms = [_alarm(row) for row in _rows(store, "replay_alarms", whole)]
    return History(
        pipeline=pipeline,
        since_ms=since_ms,
        until_ms=until_ms,
        scores=scores,
        labels=labels,
        alarms=alarms,
        estimates=[Estimate(**row) for row in _rows(store, "replay_estimates", whole)],
        calls=Calls(windows),
        trainings=list(_trainings(_rows(store, "replay_jobs", whole), alarms)),
    )


def _rows(store: Store, query: str, where: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from store.rows(sql.query(query), where)


def _trainings(jobs: Iterable[dict[str, Any]], alarms: Sequence[ThresholdEvent]) -> Iterator[Training]:
    drift = {event.data.alarm_id for event in alarms if event.data.kind == "drift"}
    for job in jobs:
        yield Training(job["start_ms"], job["end_ms"] or None, job["champion_ms"] or None, job["alarm_id"] in drift)


def _alarm(row: dict[str, Any]) -> ThresholdEvent:
    return ThresholdEvent(**(row | {"data": _data.decode(row["data"]), "time": rfc3339(row["time_ms"])}))


def _nothing(store: Store, pipeline: str, metric: str, since_ms: int, until_ms: int) -> str:
    known = {row["pipeline"]: row for row in store.rows(sql.query("replay_extent"))}
    asked = f"no history: {pipeline} has no scores of {metric!r} from {rfc3339(since_ms)} to {rfc3339(until_ms)}"
    if pipeline in known:
        there = known[pipeline]
        return (
            f"{asked}; its {there['scores']:,} scores (of any metric) are from {rfc3339(there['first_ms'])} to "
            f"{rfc3339(there['last_ms'])}: choose --from and --to among them"
        )
    others = f"; there are scores of {', '.join(known)}" if known else "; there are no scores at all"
    return f"{asked}{others}: scores come from labels and the role scorer, see docs/how-to/your-own-pipeline.md"
