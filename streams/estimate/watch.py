"""One version's estimate, kept up with the store: labels are learned as they land, then windows are judged.

Labels are taken in batches of BATCH_CALLS, since their text is looked at in batches; what is left over waits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from streams.estimate.bins import Features, count_bins
from streams.estimate.estimator import Estimate, Estimator
from streams.estimate.usual import BATCH_CALLS, Usual
from tidemill import sql

Ask = Callable[[str, Mapping[str, Any]], list[dict[str, Any]]]
"""Asks the store: a query and its parameters in, rows out."""
MOST_LABELS = 5_000
"""In one query; more follow in the next."""
MOST_CALLS = 2_000
LABEL_LAG_MS = 60_000
"""Scores may land so much out of order."""
CALL_MS = 24 * 3_600_000
"""Labels of older calls come too late to be learned from."""
LONG_CALL_MS = 3_600_000
"""From a question to its answer, at most."""


class Watched:
    """The estimate of one version of a pipeline. Made anew, it learns everything again from the store."""

    def __init__(self, pipeline: str, version: str, metric: str, sources: tuple[str, ...], since_ms: int) -> None:
        """``since_ms``: labels of before are left out."""
        self.version = version
        self._about = {"pipeline": pipeline, "version": version}
        self._scores = {"metric": metric, "sources": list(sources)}
        self._since_ms = since_ms
        self._known: dict[str, int] = {}
        """Labels that were taken, by the time of their score; those that the next query may give again."""
        self._waiting: list[dict[str, Any]] = []
        self._usual = Usual()
        self._estimator = Estimator()

    def learn(self, ask: Ask, until_ms: int) -> bool:
        """Take in the labels that have landed; whether there may be more at once. Raises Retry, StoreError.

        Labels that say they were given from ``until_ms`` (now) on wait: after one of next year none would be seen.
        """
        most, since_ms = MOST_LABELS + len(self._known), self._since_ms
        asked = {"since": since_ms, "until": until_ms, "early": max(since_ms - CALL_MS, 0), "most": most}
        rows = ask(sql.query("estimate_labels"), self._about | self._scores | asked)
        fresh = [row for row in rows if row["known"] and row["feedback_id"] not in self._known]
        self._known |= {row["feedback_id"]: row["time_ms"] for row in fresh}
        self._waiting += fresh
        moved = self._move_on(rows, full := len(rows) >= most, fresh)
        while len(self._waiting) >= BATCH_CALLS:
            batch, self._waiting = self._waiting[:BATCH_CALLS], self._waiting[BATCH_CALLS:]
            self._take(batch)
        return full and (moved or bool(fresh))

    def judge(self, ask: Ask, since_ms: int, until_ms: int) -> Estimate:
        """The estimate for the calls answered in [since_ms, until_ms). Raises Retry, StoreError."""
        asked = self._about | {"since": since_ms, "until": until_ms, "early": max(since_ms - LONG_CALL_MS, 0)}
        rows = ask(sql.query("estimate_calls"), asked | {"most": MOST_CALLS})
        off = self._usual.off([dict(row["words"]) for row in rows])
        return self._estimator.estimate(count_bins(map(_features, rows, off)))

    def _move_on(self, rows: list[dict[str, Any]], full: bool, fresh: list[dict[str, Any]]) -> bool:
        """Ask from a later time on next: rows without answer or question count, too, or many would end it."""
        before_ms = self._since_ms
        if rows:
            self._since_ms = max(before_ms, rows[-1]["time_ms"] - LABEL_LAG_MS)
            if full and not fresh and self._since_ms == before_ms:
                self._since_ms = rows[-1]["time_ms"]
        self._known = {known: at for known, at in self._known.items() if at >= self._since_ms}
        return self._since_ms > before_ms

    def _take(self, batch: list[dict[str, Any]]) -> None:
        off = self._usual.batch([dict(row["words"]) for row in batch])
        for row in batch:
            self._estimator.label(_features(row, off), row["score"])


def _features(row: Mapping[str, Any], drift: float | None) -> Features:
    return Features(row["mean_logprob"], row["agreement"], drift)
