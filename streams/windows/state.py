"""The windows of one pipeline: apply partials once, close by watermark, revise what came late.

Every output is a function of the messages in log order alone (no clock of ours), so a replay gives the same rows.
The state is bounded: see MAX_BYTES.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Literal

from msgspec import Struct, field

from streams.windows.bucket import BUCKET_BYTES, Bucket, Closed
from streams.windows.slices import IDLE_MS, NO_SLICES, Dimension, Slicing
from streams.windows.sources import Watermark
from streams.windows.tally import Series, Tally
from tidemill.events import Cell, Partial, SliceCell
from tidemill.settings.monitoring import WindowSettings

Outcome = Literal["applied", "repeated", "overlap"]
MAX_EMPTY_WINDOWS = 60
"""Windows without any data that are still reported as zero requests after a jump of the watermark."""
MAX_BYTES = 22 * 1024 * 1024
"""What all windows of a pipeline may take encoded; above it the oldest leave, open ones closed early.

One window with 500 series, each with four histograms over nine decades (1,036 buckets of 10 bytes) and ten moments,
counts 20.5 MiB: the worst window still fits. Windows with a single call count 1 KiB, so a backfill leaves 20,000 open.
Counted upwards as data comes (never measured), so it depends on the log alone. What else a pipeline keeps (2,000 scores
that wait, 1,000 in the detector, ten word counts, 16 objectives, 800 names of slices) is below 4 MiB, the quality of
slices below 3.5; with the data of one message (1 MiB), which comes before the count is looked at, a state stays below
the 32 MiB that the changelog takes.
"""


class Windows(Struct, array_like=True):
    """The state. ``applied`` holds the last offset folded in, by source partition."""

    applied: dict[str, int] = field(default_factory=dict)
    next_ms: int | None = None
    """Start of the first window not closed yet; None before the first close. It goes back by ``set_back`` alone."""
    floor_ms: int = 0
    """Windows that start before this are gone, whatever the lateness: the state was full."""
    buckets: dict[int, Bucket] = field(default_factory=dict)
    """Windows that are open, or have late data that no revision has told of, by start."""
    closed: dict[int, bytes] = field(default_factory=dict)
    """Closed windows within lateness, encoded, by start."""
    weight: int = 0
    """Bytes of all windows, at most."""
    had_requests: bool = False
    too_late: int = 0
    """Requests and answers that came after their window was gone."""
    overlaps: int = 0
    ahead: int = 0
    """Requests and answers with a time far ahead, counted in the newest window."""
    folded: int = 0
    """Requests and answers counted under the version OTHER."""
    early: int = 0
    """Windows that left early because the state was full."""
    dimensions: dict[str, Dimension] = field(default_factory=dict)
    newest_ms: int = 0
    """Start of the newest window with anything in it."""
    told_ms: int = 0
    """Windows that start before this were told of once, though they may not have closed: the clock was ahead."""

    def apply(self, partial: Partial, clock_ms: int, settings: WindowSettings, slicing: Slicing = NO_SLICES) -> Outcome:
        """Fold a partial in, once: a range at or below ``applied`` is a repetition and changes nothing.

        A range that starts inside the applied part and ends beyond it must not exist; it is counted, left out
        (never twice), and the offset moves on. ``clock_ms``: the latest clock heard, 0 before any.
        """
        name = f"{partial.topic}/{partial.partition}"
        applied = self.applied.get(name, -1)
        if partial.hi <= applied:
            return "repeated"
        self.applied[name] = partial.hi
        if partial.lo <= applied:
            self.overlaps += 1
            return "overlap"
        latest = latest_ms(clock_ms, settings)
        for cell in partial.cells:
            self._add(cell, latest, settings)
        for each in partial.slices:
            self._add_slice(each, latest, settings, slicing)
        return "applied"

    def forget(self, topics: Collection[str]) -> bool:
        """Forget what was applied of these source topics, whose offsets begin anew; whether there was any."""
        kept = {name: hi for name, hi in self.applied.items() if name.rpartition("/")[0] not in topics}
        known, self.applied = self.applied, kept
        return kept != known

    def relieve(self, settings: WindowSettings) -> Iterator[Closed]:
        """Let the oldest windows go while the state is over its bound; those not told of yet are given back."""
        if self.weight <= MAX_BYTES:
            return
        for start in sorted((*self.buckets, *self.closed)):
            self.floor_ms = start + settings.size_s * 1000
            self.early += 1
            bucket = self.buckets.get(start)
            if bucket is not None:
                if self.next_ms is None or start >= self.next_ms:
                    self.next_ms = self.floor_ms
                    yield _closed(start, bucket, complete=False)
                else:
                    yield _revision(start, bucket)
            self._drop(start)
            if self.weight <= MAX_BYTES:
                return

    def follow(self, watermark: Watermark, settings: WindowSettings) -> Iterator[Closed]:
        """Take in how far the sources are; give back revisions first, then the windows that closed, by start.

        ``watermark`` never goes back. Each window is sealed once its report has been used: use it up before the next.
        """
        for start in sorted(start for start, bucket in self.buckets.items() if bucket.late):
            yield _revision(start, self.buckets[start])
            self._seal(start)
        yield from self._closings(watermark, settings)

    def set_back(self, watermark_ms: int, settings: WindowSettings) -> None:
        """Go on from the first window that begins after ``watermark_ms``, if more than that are closed: the watermark
        was wrong. What is gone stays gone; windows told of already close once more, as their next revision.
        """
        size_ms = settings.size_s * 1000
        begin = watermark_ms - watermark_ms % size_ms + size_ms
        if self.next_ms is None or self.next_ms <= begin:
            return
        gone = self.next_ms - size_ms - settings.lateness_s * 1000 + 1
        self.told_ms = max(self.told_ms, self.next_ms)
        self.floor_ms = min(max(self.floor_ms, gone), begin)
        self.next_ms = begin
        for start in [start for start in self.closed if start >= begin]:
            self._open(start)

    def _add(self, cell: Cell, latest: int | None, settings: WindowSettings) -> None:
        size_ms = settings.size_s * 1000
        at_ms = cell.second * 1000
        if latest is not None and at_ms > latest:
            # a clock far ahead: count it in the newest window, not in one that never closes
            self.ahead += cell.requests + cell.answers
            at_ms = latest
        start = at_ms - at_ms % size_ms
        if self._gone(start, settings):
            self.too_late += cell.requests + cell.answers
            return
        bucket = self.buckets.get(start)
        if bucket is None:
            bucket = self._open(start)
        before = bucket.weight
        key = bucket.add(cell, settings.max_series)
        if key != Series.key_of(cell):
            self.folded += cell.requests + cell.answers
        self.newest_ms = max(self.newest_ms, start)
        if cell.requests:
            self.had_requests = True
        if self.next_ms is not None and start < self.next_ms:
            bucket.mark_late(key)
        self.weight += bucket.weight - before

    def _add_slice(self, cell: SliceCell, latest: int | None, settings: WindowSettings, slicing: Slicing) -> None:
        dimension, _, value = cell.slice.partition("=")
        held = slicing.held.get(dimension)
        at_ms = cell.second * 1000 if latest is None else min(cell.second * 1000, latest)
        start = at_ms - at_ms % (settings.size_s * 1000)
        if held is None or self._gone(start, settings):
            return
        bucket = self.buckets.get(start) or self._open(start)
        before, name = bucket.weight, cell.slice
        known = self.dimensions.get(dimension)
        if known is None:
            known = self.dimensions[dimension] = Dimension.of(held)
        if name not in bucket.slices:
            name = f"{dimension}={known.name(value, start, settings.size_s * 1000, slicing.most, held)}"
        elif value in known.values:
            known.values[value].seen_ms = max(known.values[value].seen_ms, start)
        bucket.add_slice(name, cell)
        if self.next_ms is not None and start < self.next_ms:
            bucket.mark_late(name)
        self.weight += bucket.weight - before

    def _gone(self, start: int, settings: WindowSettings) -> bool:
        if self.next_ms is None:
            return False
        lasts_ms = (settings.size_s + settings.lateness_s) * 1000
        return start < self.floor_ms or start + lasts_ms <= self.next_ms

    def idle_since(self, watermark_ms: int) -> int | None:
        """Start of the last window with anything in it; None where that is less than IDLE_MS ago, or one is kept."""
        idle = not self.buckets and not self.closed and self.newest_ms + IDLE_MS <= watermark_ms
        return self.newest_ms if idle else None

    def _open(self, start: int) -> Bucket:
        raw = self.closed.pop(start, None)
        bucket = self.buckets[start] = Bucket() if raw is None else Bucket.opened(raw)
        self.weight += bucket.weight - (0 if raw is None else BUCKET_BYTES + len(raw))
        return bucket

    def _seal(self, start: int) -> None:
        bucket = self.buckets.pop(start)
        raw = self.closed[start] = bucket.sealed()
        self.weight += BUCKET_BYTES + len(raw) - bucket.weight

    def _drop(self, start: int) -> None:
        bucket, raw = self.buckets.pop(start, None), self.closed.pop(start, b"")
        self.weight -= BUCKET_BYTES + len(raw) if bucket is None else bucket.weight

    def _closings(self, watermark: Watermark, settings: WindowSettings) -> Iterator[Closed]:
        size_ms = settings.size_s * 1000
        if self.next_ms is None:
            if not self.buckets:
                return
            first = min(self.buckets)
            if first + size_ms > watermark.ms:
                return
            self.next_ms = first
        end = watermark.ms - watermark.ms % size_ms  # start of the first window that stays open
        if end <= self.next_ms:
            return
        starts = {start for start in self.buckets if self.next_ms <= start < end}
        starts.update(range(max(self.next_ms, end - MAX_EMPTY_WINDOWS * size_ms), end, size_ms))
        self.next_ms = end
        for start in sorted(starts):
            bucket, told = self.buckets.get(start), start < self.told_ms
            if bucket is None and (told or not watermark.complete):
                bucket = self._open(start)  # late data must know the revision, and that the window was incomplete
            if bucket is None:
                yield Closed(start, 0, True, {})
            else:
                bucket.revision += told
                bucket.complete = watermark.complete
                yield _closed(start, bucket, complete=watermark.complete)
                self._seal(start)
        for start in [start for start in self.closed if self._gone(start, settings)]:
            self._drop(start)


def latest_ms(clock_ms: int, settings: WindowSettings) -> int | None:
    """The latest event time that is believed; None before any clock was heard."""
    return clock_ms + (settings.max_clock_skew_s + settings.size_s) * 1000 if clock_ms else None


def _closed(start: int, bucket: Bucket, *, complete: bool) -> Closed:
    all_series, all_slices = _of(bucket.series, bucket.series), _of(bucket.slices, bucket.slices)
    return Closed(start, bucket.revision, complete, all_series, all_slices)


def _revision(start: int, bucket: Bucket) -> Closed:
    bucket.revision += 1
    late = bucket.late
    series, slices = _of(bucket.series, late), _of(bucket.slices, late)
    return Closed(start, bucket.revision, bucket.complete, series, slices, first=False)


def _of(tallies: dict[str, Tally], keys: Iterable[str]) -> dict[str, Tally]:
    return {key: tallies[key] for key in sorted(keys) if key in tallies}
