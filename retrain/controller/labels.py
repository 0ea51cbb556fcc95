"""Counts labels and calls in the store, in a thread of its own: the controller's loop never waits for the store."""

from __future__ import annotations

import logging
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from retrain.datasets.dataset import count
from retrain.datasets.rules import rules_of
from retrain.policy import Known
from tidemill import sql
from tidemill.clock import Clock
from tidemill.errors import TidemillError
from tidemill.io.clickhouse import Store
from tidemill.settings import PipelineSettings, Settings

log = logging.getLogger(__name__)
EVERY_MS = 1_500
SELDOM_MS = 10_000
"""While a trigger asks and nothing has been decided, which may last for days."""
STALE_MS = 20_000
BEFORE_MS = 3_600_000
"""How far before the change quality is taken from."""
DAY_MS = 86_400_000
LEAST_SPAN_MS = 600_000
"""Calls of a shorter time say nothing of a day's."""
MOST = 50_000


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What the store says of the labels since a moment."""

    fresh: int
    verified: int
    estimated_loss: float | None
    """Mean quality before minus since; None without scores on either side."""
    sure_loss: float | None = None
    """Mean quality before minus the most that is estimated since, without labels; None without an estimate."""
    calls_per_day: float | None = None
    """Answers to clients, as of the last day; None where too few windows are known, or nobody weighs them."""


def ask(store: Store, name: str, pipeline: PipelineSettings, since_ms: int, now_ms: int) -> Counted:
    """Count now. Blocks; raises Retry or StoreError."""
    rows = store.rows(sql.query("fresh_labels"), {"pipeline": name, "since": since_ms, "most": MOST})
    fresh, verified = count(((r["session"], r["source"], r["prompt"]) for r in rows), rules_of(pipeline))
    start = max(0, since_ms - BEFORE_MS)
    metric = pipeline.quality.metric
    found = store.rows(
        sql.query("quality_loss"), {"pipeline": name, "since": since_ms, "start": start, "metric": metric}
    )
    before, since = (found[0]["mean_before"], found[0]["mean_since"]) if found else (None, None)
    high = _estimated(store, name, since_ms) if pipeline.quality.estimate else None
    loss, sure = losses(pipeline, before, since, high)
    calls = _calls_per_day(store, name, now_ms) if pipeline.trigger.usd_per_point is not None else None
    return Counted(fresh=fresh, verified=verified, estimated_loss=loss, sure_loss=sure, calls_per_day=calls)


def judged(known: Known, counted: Counted) -> Known:
    """What is known of a trigger once the labels since its change are counted."""
    return replace(
        known,
        fresh_labels=counted.fresh,
        estimated_loss=counted.estimated_loss,
        sure_loss=counted.sure_loss,
        calls_per_day=counted.calls_per_day,
    )


def losses(
    pipeline: PipelineSettings, before: float | None, since: float | None, high: float | None
) -> tuple[float | None, float | None]:
    """(estimated, sure) loss from the mean quality before and since a change and the upper end of the newest estimate
    since; None where they are not known. Without ``quality.estimate`` no estimate counts. Pure.
    """
    if before is None:
        return None, None
    sure = before - high if high is not None and pipeline.quality.estimate else None
    return None if since is None else before - since, sure


def calls_per_day(answers: float, span_ms: float) -> float | None:
    """Answers of a stretch of time as so many a day; None where it is too short to say. Pure."""
    return answers * DAY_MS / span_ms if span_ms >= LEAST_SPAN_MS else None


def _calls_per_day(store: Store, name: str, now_ms: int) -> float | None:
    lately = {"pipeline": name, "since": now_ms - DAY_MS, "until": now_ms}
    (found,) = store.rows(sql.query("calls_lately"), lately)
    return calls_per_day(found["answers"], found["span_ms"])


def _estimated(store: Store, name: str, since_ms: int) -> float | None:
    (found,) = store.rows(sql.query("estimate_since"), {"pipeline": name, "since": since_ms})
    return found["high"] if found["n"] else None


class LabelCounter:
    """Answers from memory, at most ``STALE_MS`` old, and asks again in the background."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._store = Store(settings)
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="labels")
        self._asked: dict[tuple[str, int], int] = {}
        self._known: dict[tuple[str, int], tuple[int, Counted]] = {}
        self._running: tuple[tuple[str, int], Future[Counted]] | None = None
        self.problem = ""
        """Why the store does not answer; empty when it does."""

    def counted(self, pipeline: str, since_ms: int, every_ms: int = EVERY_MS) -> Counted | None:
        """The latest count; None when there is none fresh enough. Never blocks; asks for a new one by itself, at most
        each ``every_ms``.
        """
        now, key = self._clock.now_ms(), (pipeline, since_ms)
        self._collect(now)
        if self._running is None and now - self._asked.get(key, 0) >= every_ms:
            self._asked[key] = now
            job = self._pool.submit(ask, self._store, pipeline, self._settings.pipelines[pipeline], since_ms, now)
            self._running = (key, job)
        known = self._known.get(key)
        return known[1] if known is not None and now - known[0] <= STALE_MS else None

    def close(self) -> None:
        """Stop asking."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _collect(self, now: int) -> None:
        if self._running is None or not self._running[1].done():
            return
        key, job = self._running
        self._running = None
        try:
            self._known[key] = (now, job.result())
            self.problem = ""
        except TidemillError as error:
            if not self.problem:
                log.warning("labels cannot be counted: %s", error)
            self.problem = str(error)[:300]
