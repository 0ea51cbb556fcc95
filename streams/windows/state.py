"""The windows of one pipeline: apply partials once, close by watermark, revise what came late.

Every output is a function of the messages in log order alone (no clock of ours), so a replay gives the same rows.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from msgspec import Struct, field

from streams.windows.sources import Sources, Watermark
from streams.windows.tally import OTHER, Series, Tally
from tidemill.events import Cell, Partial, Progress
from tidemill.settings.model import WindowSettings

MAX_SERIES = 32
"""Series with a version of their own in one window: what clients call their models must not outgrow the state."""
Outcome = Literal["applied", "repeated", "overlap"]
MAX_EMPTY_WINDOWS = 60
"""Windows without any data that are still reported as zero requests after a jump of the watermark."""


class Bucket(Struct, omit_defaults=True):
    """One window, open or within lateness."""

    series: dict[str, Tally] = field(default_factory=dict)
    revision: int = 0
    complete: bool = True
    late: list[str] = field(default_factory=list)
    """Series that got late data since the last revision went out."""


class Closed(NamedTuple):
    """A window to report: all its series at revision 0, the late ones at higher revisions."""

    start_ms: int
    revision: int
    complete: bool
    series: dict[str, Tally]


class Windows(Struct, omit_defaults=True):
    """The state. ``applied`` holds the last offset folded in, by source partition."""

    applied: dict[str, int] = field(default_factory=dict)
    sources: Sources = field(default_factory=Sources)
    watermark_ms: int = 0
    """It never goes back."""
    next_ms: int | None = None
    """Start of the first window not closed yet; None before the first close."""
    buckets: dict[int, Bucket] = field(default_factory=dict)
    had_requests: bool = False
    too_late: int = 0
    """Requests and answers that came after their window's lateness."""
    overlaps: int = 0
    ahead: int = 0
    """Requests and answers with a time far ahead, counted in the newest window."""
    folded: int = 0
    """Requests and answers counted under the version OTHER."""

    def apply(self, partial: Partial, settings: WindowSettings) -> Outcome:
        """Fold a partial in, once: a range at or below ``applied`` is a repetition and changes nothing.

        A range that starts inside the applied part and ends beyond it must not exist; it is counted, left out
        (never twice), and the offset moves on.
        """
        name = f"{partial.topic}/{partial.partition}"
        applied = self.applied.get(name, -1)
        if partial.hi <= applied:
            return "repeated"
        self.applied[name] = partial.hi
        if partial.lo <= applied:
            self.overlaps += 1
            return "overlap"
        for cell in partial.cells:
            self._add(cell, settings)
        return "applied"

    def _add(self, cell: Cell, settings: WindowSettings) -> None:
        size_ms = settings.size_s * 1000
        at_ms = cell.second * 1000
        if self.sources.clock_ms:
            latest_ms = self.sources.clock_ms + settings.max_clock_skew_s * 1000 + size_ms
            if at_ms > latest_ms:  # a clock far ahead: count it in the newest window, not in one that never closes
                self.ahead += cell.requests + cell.answers
                at_ms = latest_ms
        start = at_ms - at_ms % size_ms
        if start + size_ms + settings.lateness_s * 1000 <= self.watermark_ms:
            self.too_late += cell.requests + cell.answers
            return
        bucket = self.buckets.get(start)
        if bucket is None:
            bucket = self.buckets[start] = Bucket()
        key = self._series(cell, bucket)
        bucket.series.setdefault(key, Tally()).add(cell)
        self.had_requests = self.had_requests or cell.requests > 0
        if self.next_ms is not None and start < self.next_ms and key not in bucket.late:
            bucket.late.append(key)

    def _series(self, cell: Cell, bucket: Bucket) -> str:
        """The key of the cell's own series, or of OTHER's where its version is new and the window has enough."""
        own = Series.of_cell(cell)
        if not own.model_version or own.key in bucket.series or len(bucket.series) < MAX_SERIES:
            return own.key
        self.folded += cell.requests + cell.answers
        return Series(OTHER, own.variant, own.role).key

    def heard(self, progress: Progress, settings: WindowSettings) -> list[Closed]:
        """Take in a progress message; give back revisions first, then the windows that closed, by start."""
        return self.follow(self.sources.heard(progress), settings)

    def follow(self, sources: Sources, settings: WindowSettings) -> list[Closed]:
        """As ``heard``, with the sources already merged (pipelines of one partition share them)."""
        self.sources = sources
        watermark = sources.watermark(settings.silent_source_s * 1000)
        if watermark is None:
            return []
        self.watermark_ms = max(self.watermark_ms, watermark.ms)
        reports = self._revisions() + self._closings(watermark, settings)
        self._forget(settings)
        return reports

    def _revisions(self) -> list[Closed]:
        reports = []
        for start in sorted(self.buckets):
            bucket = self.buckets[start]
            if bucket.late:
                bucket.revision += 1
                series = {key: bucket.series[key] for key in sorted(bucket.late)}
                reports.append(Closed(start, bucket.revision, bucket.complete, series))
                bucket.late = []
        return reports

    def _closings(self, watermark: Watermark, settings: WindowSettings) -> list[Closed]:
        size_ms = settings.size_s * 1000
        if self.next_ms is None:
            if not self.buckets:
                return []
            first = min(self.buckets)
            if first + size_ms > self.watermark_ms:
                return []
            self.next_ms = first
        end = self.watermark_ms - self.watermark_ms % size_ms  # start of the first window that stays open
        reports = []
        if end > self.next_ms:
            oldest_empty = end - MAX_EMPTY_WINDOWS * size_ms
            starts = {start for start in self.buckets if self.next_ms <= start < end}
            starts.update(range(max(self.next_ms, oldest_empty), end, size_ms))
            for start in sorted(starts):
                bucket = self.buckets.get(start)
                if bucket is None and not watermark.complete:
                    bucket = self.buckets[start] = Bucket()  # late data must know that the window was incomplete
                if bucket is not None:
                    bucket.complete = watermark.complete
                series = {} if bucket is None else {key: bucket.series[key] for key in sorted(bucket.series)}
                reports.append(Closed(start, 0, watermark.complete, series))
            self.next_ms = end
        return reports

    def _forget(self, settings: WindowSettings) -> None:
        horizon = self.watermark_ms - (settings.size_s + settings.lateness_s) * 1000
        for start in [start for start in self.buckets if start <= horizon and start < (self.next_ms or 0)]:
            del self.buckets[start]
