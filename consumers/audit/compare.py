"""The audit: what Kafka holds and the sink has answered for, beside what the tables hold; then the windows.

1. the committed offsets; 2. counts of rows below them; 3. only where a count is wrong, the offsets concerned, and for
those without a row what Kafka and the dead letters have; 4. projections; 5. closed windows.
As the offsets are read first and rows below them never change, traffic may go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import NamedTuple

from consumers.audit import projections, rows
from consumers.audit.log import Log, Present
from consumers.audit.report import Part, Repeats, Report, Windows
from consumers.audit.rows import Chunk, Stretch
from consumers.audit.runs import size, without
from consumers.audit.ttl import horizon_ms as horizon
from consumers.audit.windows import RAW, Reconciliation
from tidemill.clock import Clock
from tidemill.io.clickhouse import Store
from tidemill.io.lag import Lag
from tidemill.settings import Settings
from tidemill.topics import LANDING, SINK_GROUP, Topic

EXAMPLES = 5
LANDED_WITHIN_S = 30.0
Progress = Callable[[str, int, int], None]
"""What is compared now, steps done, steps in all. Called at least every second or so while the audit reads Kafka."""


def audit(
    settings: Settings,
    store: Store,
    clock: Clock,
    since_ms: int | None,
    progress: Progress,
    earlier: Mapping[str, int] | None = None,
) -> Report:
    """Compare everything that arrived since ``since_ms`` (None: everything Kafka keeps). Blocks.

    ``earlier``: topics, and ``windows``, that are to be compared from an earlier time on. Raises Retry (Kafka or the
    store is away), StoreError.
    """
    started_ms = clock.now_ms()
    said = _Said(progress, len(LANDING) + 2)
    since = {name: _earliest(since_ms, (earlier or {}).get(name)) for name in (*(t.name for t in LANDING), "windows")}
    parts: list[Part] = []
    repeats: list[Repeats] = []
    with (
        Lag(settings, "tidemill-audit", SINK_GROUP, [topic.name for topic in LANDING]) as lag,
        closing(Log(settings, said.alive)) as log,
    ):
        for topic in LANDING:
            found, again = _topic(log, store, topic, since[topic.name])
            parts += found
            repeats += again
            said.step(topic.table or "")
        tables = {topic.table or "": since[topic.name] for topic in LANDING}
        checked = tuple(projections.compare(store, tables))
        said.step("projections")
        windows = _windows(settings, store, lag, started_ms, since["windows"], said)
        said.step("windows")
    return Report(
        time_ms=started_ms,
        since_ms=since_ms,
        parts=tuple(parts),
        repeats=tuple(repeats),
        projections=checked,
        windows=windows,
    )


class _Said:
    """How far the audit is."""

    def __init__(self, progress: Progress, of: int) -> None:
        self._progress, self._of = progress, of
        self._now, self._done = "Kafka", 0

    def alive(self) -> None:
        self._progress(self._now, self._done, self._of)

    def step(self, done: str) -> None:
        self._now, self._done = done, self._done + 1
        self.alive()


def _earliest(since_ms: int | None, earlier_ms: int | None) -> int | None:
    return since_ms if since_ms is None or earlier_ms is None else min(since_ms, earlier_ms)


def _topic(log: Log, store: Store, topic: Topic, since_ms: int | None) -> tuple[list[Part], list[Repeats]]:
    """A topic beside its table: fast among the rows of late, and among all before any is called missing."""
    assert topic.table is not None
    stretches = log.stretches(topic, since_ms)
    source = rows.recent(topic.table, since_ms)
    found = _parts(log, store, topic, source, stretches, since_ms)
    if source != topic.table and any(part.missing for part in found):
        source = topic.table
        found = _parts(log, store, topic, source, stretches, since_ms)
    count = sum(part.rows for part in found)
    if not count or topic.table not in rows.IDS:
        return found, []
    up = rows.upstream(store, source, rows.IDS[topic.table], topic.name, stretches, count)
    return found, [Repeats(table=topic.table, rows=up.rows, repeated=up.repeated, share=up.share)]


def _parts(
    log: Log, store: Store, topic: Topic, source: str, stretches: list[Stretch], since_ms: int | None
) -> list[Part]:
    """Every partition of a topic. Its dead letters are read where a row is absent, Kafka only for what they lack."""
    counted = rows.chunks(store, source, topic.name, stretches)
    gaps = [
        [run for chunk in found if not chunk.whole for run in rows.absent(store, source, topic.name, partition, chunk)]
        for partition, found in enumerate(counted)
    ]
    letters = log.letters(topic, since_ms) if any(gaps) else {}
    horizon_ms = horizon(store, topic.table or "") if any(gaps) else 0
    parts = []
    for partition, stretch in enumerate(stretches):
        left = without(gaps[partition], letters.get(partition, ()))
        present = log.present(topic, partition, left, horizon_ms) if left else Present([], [], [])
        lost = Lost(present, size(gaps[partition]) - size(left), size(left) - present.size)
        parts.append(_part(store, source, topic, partition, stretch, counted[partition], lost))
    return parts


class Lost(NamedTuple):
    """The offsets of a partition that have no row."""

    present: Present
    """Messages without a dead letter either."""
    letters: int
    holes: int


def _part(
    store: Store,
    source: str,
    topic: Topic,
    partition: int,
    stretch: Stretch,
    counted: list[Chunk],
    lost: Lost,
) -> Part:
    missing = lost.present.sound
    twice = [chunk for chunk in counted if chunk.rows > chunk.offsets]
    repeated = [rows.repeated(store, source, topic.name, partition, chunk) for chunk in twice[:1]]
    examples = [f"{run.lo}-{run.hi}" if run.size > 1 else str(run.lo) for run in missing[:EXAMPLES]]
    examples += [f"{offset} twice" for one in repeated for offset in one.examples]
    times = [run.time_ms for run in missing] + [one.since_ms for one in repeated]
    return Part(
        topic=topic.name,
        table=topic.table or "",
        partition=partition,
        lo=stretch.lo,
        hi=stretch.hi,
        rows=sum(chunk.rows for chunk in counted),
        missing=size(missing),
        duplicates=sum(chunk.rows - chunk.offsets for chunk in twice),
        dead_letters=lost.letters,
        unburied=size(lost.present.malformed),
        expired=size(lost.present.expired),
        holes=lost.holes,
        examples=tuple(examples),
        since_ms=min((time_ms for time_ms in times if time_ms is not None), default=None),
    )


def _windows(settings: Settings, store: Store, lag: Lag, now_ms: int, since_ms: int | None, said: _Said) -> Windows:
    """Compared only once the sink has landed what was in Kafka when the audit began: else rows seem to be missing."""
    until_ms = closed_until(settings, now_ms)
    if behind := lag.wait(LANDED_WITHIN_S, said.alive):
        return Windows(behind=behind)
    if since_ms is None:
        since_ms = _first_row(store)
    if since_ms is None or since_ms >= until_ms:
        return Windows()
    dimensions = {name: each.slices for name, each in settings.pipelines.items() if each.slices}
    compared = Reconciliation(store, settings.windows, settings.pipelines, since_ms, until_ms, dimensions)
    return compared.run(lambda _done, _of: said.alive())


def closed_until(settings: Settings, now_ms: int) -> int:
    """Windows that end by then have closed, will not be revised any more, and have landed."""
    return round(now_ms - (settings.windows.size_s + settings.windows.lateness_s + settings.audit.settle_s) * 1000)


def _first_row(store: Store) -> int | None:
    """When the first raw row counts, epoch milliseconds; None: there is none."""
    firsts = []
    for table in RAW:
        (row,) = store.rows(f"SELECT count() AS n, min(time_ms) AS first FROM {table}")
        if row["n"]:
            firsts.append(row["first"])
    return min(firsts, default=None)
