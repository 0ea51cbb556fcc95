"""Reconciliation: every closed window's figures as the stream gave them, beside ClickHouse's own of the same rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from consumers.audit import slices
from consumers.audit.figures import METRICS, QUANTILES, Counted, Figure, Mismatch, Series, counted_of, mismatches
from consumers.audit.report import Difference, Windows
from tidemill.io.clickhouse import Store
from tidemill.metrics import DURATIONS
from tidemill.settings.monitoring import WindowSettings
from tidemill.sql.counting import COUNTED, START, leads

PIECE_ROWS = 500_000
"""Raw rows whose figures are asked for together."""
EXAMPLES = 10
RAW = ("requests", "responses")
SKEW_SLACK_MS = 1_000
"""How far the clocks of broker and meters may be apart when it is judged what came too late."""

_LATE = (
    "_arrival_ms = 0 "
    f"OR _arrival_ms + {{skew:Int64}} + {SKEW_SLACK_MS} >= {START} + {{size:Int64}} + {{lateness:Int64}}"
)
_VERSION = "substringUTF8(model_version, 1, 256)"


class Held(NamedTuple):
    """The raw rows of one pipeline's window."""

    rows: int
    late: int
    """Those that may have come after the window's lateness; so may those of before arrival was kept."""


Place = tuple[str, int]
"""Pipeline, and the window's start in epoch milliseconds."""
NOT_SLICED: Mapping[str, Sequence[str]] = {}


class Reconciliation:
    """Compares all windows that start in since..until (until exclusive; both are rounded down to window starts)."""

    def __init__(
        self,
        store: Store,
        settings: WindowSettings,
        pipelines: Collection[str],
        since_ms: int,
        until_ms: int,
        dimensions: Mapping[str, Sequence[str]] = NOT_SLICED,
    ) -> None:
        """``pipelines``: those that have windows whatever else comes; of others the stream takes some only.
        ``dimensions``: those of their slices, by pipeline.
        """
        self._dimensions = dimensions
        self._store = store
        self._known = set(pipelines)
        self._size_ms = settings.size_s * 1000
        self._where = {
            "size": self._size_ms,
            "skew": settings.max_clock_skew_s * 1000,
            "lateness": settings.lateness_s * 1000,
        }
        self._since, self._until = (at - at % self._size_ms for at in (since_ms, until_ms))

    def run(self, progress: Callable[[int, int], None]) -> Windows:
        """Blocks. ``progress(done, of)`` counts raw rows. Raises Retry, StoreError."""
        self._where["lead"] = self._lead()
        held = self._held()
        self._known |= {row["pipeline"] for row in self._store.rows(_NAMED)}
        found = _Found()
        done, total = 0, sum(each.rows for each in held.values())
        for since, until in self._pieces(held):
            self._compare(since, until, held, found)
            done += sum(each.rows for (_, start), each in held.items() if since <= start < until)
            progress(done, total)
        return found.windows()

    def _lead(self) -> int:
        found = [row["lead"] for table in RAW for row in self._rows(leads(table), self._since, self._until)]
        return int(max(found, default=0))

    def _held(self) -> dict[Place, Held]:
        found: dict[Place, Held] = {}
        for table in RAW:
            rows = self._rows(
                f"SELECT pipeline, {START} AS start, count() AS n, countIf({_LATE}) AS late "
                f"FROM {table} WHERE {COUNTED} GROUP BY pipeline, start",
                self._since,
                self._until,
            )
            for row in rows:
                before = found.get((row["pipeline"], row["start"]), Held(0, 0))
                found[row["pipeline"], row["start"]] = Held(before.rows + row["n"], before.late + row["late"])
        return found

    def _pieces(self, held: dict[Place, Held]) -> Iterator[tuple[int, int]]:
        """Times that together cover everything, each with at most PIECE_ROWS rows (or one window)."""
        by_start: dict[int, int] = {}
        for (_, start), each in held.items():
            by_start[start] = by_start.get(start, 0) + each.rows
        since, rows = self._since, 0
        for start, more in sorted(by_start.items()):
            if rows and rows + more > PIECE_ROWS:
                yield since, start
                since, rows = start, 0
            rows += more
        if since < self._until:
            yield since, self._until

    def _compare(self, since: int, until: int, held: dict[Place, Held], found: _Found) -> None:
        counted, repeated = self._counted(since, until)
        stream, incomplete = self._stream(since, until)
        slices.add(partial(self._asked, since, until), self._dimensions, counted, stream)
        for place in sorted({*counted, *stream}):
            if place in incomplete:
                found.incomplete += 1
            elif place not in held:
                found.gone += 1
            elif place[0] not in self._known:
                found.stray += 1
            elif held[place].late:
                found.late += 1
            elif place in repeated:
                found.repeated += 1
            else:
                found.add(place, mismatches(stream.get(place, {}), counted.get(place, {})))

    def _counted(self, since: int, until: int) -> tuple[dict[Place, dict[Series, Counted]], set[Place]]:
        """What the raw rows add up to, and the windows with events that came twice."""
        found: dict[Place, dict[Series, Counted]] = {}
        repeated: set[Place] = set()
        for sql in (_REQUESTS, _ANSWERS):
            for row in self._rows(sql, since, until):
                place = (row["pipeline"], row["start"])
                series, counted = Series(row["version"], row["variant"], row["role"]), counted_of(row)
                at = found.setdefault(place, {})
                at[series] = at[series].plus(counted) if series in at else counted
                if row["n"] > row["ids"]:
                    repeated.add(place)
        return found, repeated

    def _stream(self, since: int, until: int) -> tuple[dict[Place, dict[tuple[Series, str], Figure]], set[Place]]:
        found: dict[Place, dict[tuple[Series, str], Figure]] = {}
        incomplete: set[Place] = set()
        for row in self._rows(_WINDOWS, since, until, metrics=METRICS):
            place = (row["pipeline"], row["start_ms"])
            series = Series(row["model_version"], row["variant"], row["role"], row["slice"])
            figure = Figure(row["n"], row["total"], (row["p50"], row["p95"], row["p99"]))
            found.setdefault(place, {})[series, row["metric"]] = figure
            if not row["complete"]:
                incomplete.add(place)
        return found, incomplete

    def _asked(self, since: int, until: int, sql: str, **more: Any) -> list[dict[str, Any]]:
        return self._rows(sql, since, until, **more)

    def _rows(self, sql: str, since: int, until: int, **more: Any) -> list[dict[str, Any]]:
        return self._store.rows(sql, {**self._where, "since": since, "until": until, **more})


class _Found:
    """Collects what the comparison of each window says."""

    def __init__(self) -> None:
        self.compared = self.incomplete = self.late = self.repeated = self.gone = self.stray = 0
        self._differing: dict[str, list[int]] = {}
        self._examples: list[Difference] = []

    def add(self, place: Place, wrong: Sequence[Mismatch]) -> None:
        self.compared += 1
        if not wrong:
            return
        pipeline, start_ms = place
        self._differing.setdefault(pipeline, []).append(start_ms)
        for one in wrong[: max(0, EXAMPLES - len(self._examples))]:
            self._examples.append(
                Difference(
                    pipeline=pipeline,
                    start_ms=start_ms,
                    model_version=one.series.model_version,
                    variant=one.series.variant,
                    role=one.series.role,
                    slice=one.series.slice,
                    metric=one.metric,
                    stream=_shown(one.stream),
                    rows=_shown(one.rows),
                )
            )

    def windows(self) -> Windows:
        return Windows(
            compared=self.compared,
            incomplete=self.incomplete,
            late=self.late,
            repeated=self.repeated,
            gone=self.gone,
            stray=self.stray,
            differing={pipeline: sorted(starts) for pipeline, starts in sorted(self._differing.items())},
            examples=tuple(self._examples),
        )


def _shown(figure: Figure | None) -> str:
    if figure is None:
        return ""
    quantiles = "".join(
        f" p{round(100 * q)}={value:g}"
        for q, value in zip(QUANTILES, figure.quantiles, strict=True)
        if value is not None
    )
    return f"n={figure.n} total={figure.total:.12g}{quantiles}"


_REQUESTS = f"""
SELECT pipeline, {START} AS start, '' AS version, 'champion' AS variant, 'client' AS role,
       count() AS n, uniqExact(call_id) AS ids, n AS requests
FROM requests WHERE {COUNTED} GROUP BY pipeline, start
"""


def _duration(metric: str) -> str:
    """Count, sum, and the quantiles of the lower rank: floor(q * (n - 1)), as the sketch answers with."""
    ranks = ", ".join(f"{metric}_sorted[toUInt64(floor({q} * (length({metric}_sorted) - 1))) + 1]" for q in QUANTILES)
    return (
        f"count({metric}) AS {metric}_n, ifNull(sum({metric}), 0) AS {metric}_total, "
        f"arraySort(groupArray(assumeNotNull({metric})) FILTER (WHERE {metric} IS NOT NULL)) AS {metric}_sorted, "
        f"[{ranks}] AS {metric}_quantiles"
    )


_ANSWERS = f"""
SELECT * EXCEPT ({", ".join(f"{metric}_sorted" for metric in DURATIONS)}) FROM (
SELECT pipeline, {START} AS start, {_VERSION} AS version, variant, role,
       count() AS n, uniqExact(answer_id) AS ids, {slices.ANSWERS},
       {", ".join(map(_duration, DURATIONS))}
FROM responses AS r WHERE {COUNTED} GROUP BY pipeline, start, version, variant, role)
"""

_NAMED = "SELECT DISTINCT pipeline FROM windows"

_WINDOWS = """
SELECT pipeline, start_ms, model_version, variant, role, slice, metric, n, total, p50, p95, p99, complete
FROM windows
WHERE start_ms >= {since:Int64} AND start_ms < {until:Int64} AND end_ms = start_ms + {size:Int64}
  AND start >= fromUnixTimestamp64Milli({since:Int64}) AND start < fromUnixTimestamp64Milli({until:Int64})
  AND metric IN {metrics:Array(String)}
ORDER BY revision DESC LIMIT 1 BY pipeline, start_ms, model_version, variant, role, slice, metric
"""
