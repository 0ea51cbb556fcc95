"""The backfill: for each piece of time 1. read the raw rows and the windows; 2. compute; 3. write what differs.

Rows go out through monitoring.windows, as the stream's do, so the sink lands each exactly once. A second run finds
nothing to write once they have landed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confluent_kafka import Producer
from msgspec import Struct

from streams.backfill.recompute import Recomputed, changes
from streams.backfill.source import KINDS, Piece, Source, pipelines
from streams.meter.fold import UNKNOWN, rules_of
from streams.windows.slices import NO_SLICES, slicing_of
from tidemill.clock import Clock
from tidemill.codec import encode
from tidemill.errors import Retry, Stop
from tidemill.events import Window
from tidemill.io import kafka
from tidemill.io.clickhouse import Store
from tidemill.io.lag import Lag
from tidemill.settings import Settings
from tidemill.topics import METERED, PARTIALS, SINK_GROUP, WINDOWS

METER_GROUP = "tidemill-meter"
HELD_BACK = 2
"""Messages of a partition that the windows worker has handled and not committed."""
REVISED = "it would still write the windows computed here, under the same revisions"
LANDED_WITHIN_S = 120.0
FLUSH_S = 30.0
Progress = Callable[[str, int, int], None]
"""Pipeline, raw rows done, raw rows in all."""


class Outcome(Struct, kw_only=True):
    """What a backfill found and did."""

    since_ms: int
    until_ms: int
    written: bool
    """False: a dry run."""
    windows: int = 0
    """Windows (pipeline × start) with raw rows, computed anew."""
    changed_windows: int = 0
    missing_windows: int = 0
    """Of the changed ones, those that were not there at all."""
    changed_rows: int = 0
    repeated_events: int = 0
    """Copies of events that their producer sent again, left out."""
    unsampled_windows: int = 0
    """Windows whose text metrics were left as they are: they rest on a sample that cannot be drawn again."""
    windows_without_rows: int = 0
    """Windows left as they are, as no raw row of theirs is in the store."""


def backfill(
    settings: Settings,
    store: Store,
    clock: Clock,
    since_ms: int,
    until_ms: int,
    *,
    only: Sequence[str] = (),
    write: bool = True,
    progress: Progress,
) -> Outcome:
    """Compute the windows anew that start in since..until. Blocks.

    Raises Retry (Kafka or the store is away), StoreError, and Stop where no such window has closed yet, or meter,
    streams or sink are so far behind that a window may still be revised, or rows on their way be taken for lost.
    """
    size_ms = settings.windows.size_s * 1000
    closed_ms = round(clock.now_ms() - (settings.windows.lateness_s + settings.audit.settle_s) * 1000) - size_ms
    since, until = (at - at % size_ms for at in (since_ms, min(until_ms, closed_ms)))
    if since >= until:
        raise Stop(
            "no window of this time is closed: a window is computed anew when windows.size_s + windows.lateness_s + "
            f"audit.settle_s have passed since its start; choose --from before {closed_ms} (epoch milliseconds)"
        )
    wait_until_landed(settings)
    outcome = Outcome(since_ms=since, until_ms=until, written=write)
    writer = Writer(settings) if write else None
    for name in only or pipelines(store, since, until):
        sliced = name in settings.pipelines and bool(settings.pipelines[name].slices)
        source = Source(store, settings.windows, name, sliced=sliced)
        pieces = source.pieces(since, until)
        done, total = 0, sum(piece.rows for piece in pieces)
        for piece in pieces:
            rows = _piece(source, name, piece, settings, clock.now_ms(), outcome)
            if writer is not None:
                writer.send(rows)
            done += piece.rows
            progress(name, done, total)
    if writer is not None:
        writer.close()
    return outcome


def _piece(
    source: Source, pipeline: str, piece: Piece, settings: Settings, now_ms: int, outcome: Outcome
) -> list[Window]:
    known: dict[int, list[Window]] = {}
    rows_now = source.windows(piece.since_ms, piece.until_ms)
    for row in rows_now:
        known.setdefault(row.start_ms, []).append(row)
    size_ms = settings.windows.size_s * 1000
    rules = rules_of(settings).get(pipeline, UNKNOWN)
    slicing = slicing_of(settings.pipelines[pipeline]) if pipeline in settings.pipelines else NO_SLICES
    computed = Recomputed(pipeline, size_ms, rules, rows_now, settings.windows.max_series, slicing)
    events = 0
    for part in range(piece.parts):
        for kind in KINDS:
            found_here = source.events(kind, piece, part)
            events += len(found_here)
            computed.add(kind.topic.name, found_here)
    outcome.repeated_events += piece.rows - events
    unsampled = computed.unsampled()
    found: list[Window] = []
    for start, tallies in sorted(computed.tallies.items()):
        out = unsampled.get(start, ())
        slices = computed.slices.of(start)
        change = changes(pipeline, start, start + size_ms, tallies, known.pop(start, ()), out, now_ms, slices)
        found += change.rows
        outcome.windows += 1
        outcome.unsampled_windows += bool(out) and rules.samples_per_second > 0
        outcome.changed_windows += bool(change.rows)
        outcome.missing_windows += bool(change.rows) and not change.was_there
    outcome.windows_without_rows += sum(any(row.n for row in rows) for rows in known.values())
    outcome.changed_rows += len(found)
    return found


class Writer:
    """Sends window rows and waits for the broker's word. Raises Retry where it does not take them all."""

    def __init__(self, settings: Settings) -> None:
        self._failures: list[str] = []
        self._producer: Producer = kafka.producer(settings, "tidemill-backfill")

    def send(self, rows: Sequence[Window]) -> None:
        note = kafka.delivered(self._failures)
        for row in rows:
            kafka.hand_over(self._producer, WINDOWS.name, encode(row), row.pipeline, on_delivery=note)
        self.close()

    def close(self) -> None:
        """Everything sent so far is in Kafka."""
        if self._producer.flush(FLUSH_S) or self._failures:
            raise Retry(f"Kafka did not take all rows: {self._failures[:1]}; run it again")


def wait_until_landed(settings: Settings) -> None:
    """Wait until what the raw topics hold now has gone through the stream, and its windows and rows have landed.

    A stream that has never worked here writes no windows either, and is not waited for. Raises Stop, Retry.
    """
    raw = [topic.name for topic in METERED]
    streams = f"tidemill-streams-{settings.deployment}"
    for role, group, topics, held, why in (
        ("meter", METER_GROUP, raw, 0, REVISED),
        ("streams", streams, [PARTIALS.name], HELD_BACK, REVISED),
        ("sink", SINK_GROUP, [*raw, WINDOWS.name], 0, "rows on their way would be taken for lost"),
    ):
        with Lag(settings, "tidemill-backfill", group, topics, held=held) as lag:
            if role != "sink" and not lag.begun:
                continue
            if behind := lag.wait(LANDED_WITHIN_S):
                raise Stop(
                    f"the role {role} is {behind} messages behind, and {why}; "
                    "see `tidemill status`, wait until it has caught up and run this again"
                )
