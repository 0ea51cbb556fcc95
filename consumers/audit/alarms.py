"""From what an audit found to threshold events: alarms that begin, and alarms that end. Pure.

What is open is read back from monitoring.thresholds, and an alarm's id follows from its cause: whoever starts again
says nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from consumers.audit.report import Report
from tidemill.clock import rfc3339
from tidemill.events import ThresholdData, ThresholdEvent, threshold_event
from tidemill.ids import derived_id

AUDIT_ROWS, AUDIT_WINDOWS, ROLE_STALE = "audit_rows", "audit_windows", "role_stale"
SYSTEM = "tidemill"
"""Stands in the place of the pipeline: these alarms are not about what a model does."""
LONGEST_NAME = 256


class Trouble(NamedTuple):
    """Something that is wrong now."""

    rule: str
    metric: str
    value: float
    threshold: float
    since_ms: int
    """The earliest time it is about."""
    cause: str
    """What makes this trouble another one than the last of its kind: an offset, a window."""
    summary: str

    @property
    def subject(self) -> str:
        """The series: one alarm of a rule is open for it at a time."""
        return f"{SYSTEM}//{self.metric}"


Key = tuple[str, str]
"""Rule and subject."""
Said = Mapping[Key, ThresholdEvent]
"""The last event of each series."""


def follow(said: dict[Key, ThresholdEvent], event: ThresholdEvent, source: str) -> None:
    """Take in one event of the topic; those of other sources are not ours."""
    if event.source == source:
        said[event.data.rule, event.subject] = event


def firing(said: Said) -> dict[Key, ThresholdEvent]:
    """The alarms that are open."""
    return {key: event for key, event in said.items() if event.data.state == "firing"}


def source(deployment: str) -> str:
    """Who speaks, in our events."""
    return f"tidemill/{deployment}/audit"


def events(
    said: Said,
    troubles: Iterable[Trouble],
    rules: Iterable[str],
    speaker: str,
    now_ms: int,
    undecided: Sequence[str] = (),
) -> list[ThresholdEvent]:
    """What is to be said: a trouble without an open alarm begins one; one of ``rules`` without a trouble ends.

    ``undecided``: beginnings of metrics of which nothing is known now; their alarms stay as they are.
    """
    now = {(trouble.rule, trouble.subject): trouble for trouble in troubles}
    judged = set(rules)
    open_alarms = firing(said)
    begun = [
        _begin(trouble, said.get(key), speaker, now_ms)
        for key, trouble in sorted(now.items())
        if key not in open_alarms
    ]
    ended = [
        _end(alarm, speaker, now_ms)
        for key, alarm in sorted(open_alarms.items(), key=lambda item: item[0])
        if key[0] in judged and key not in now and not alarm.data.metric.startswith(tuple(undecided))
    ]
    return begun + ended


def of_report(report: Report) -> list[Trouble]:
    """One trouble for each table with wrong rows, and for each pipeline with windows that differ."""
    found = []
    by_table: dict[str, list[int]] = {}
    for number, part in enumerate(report.parts):
        if part.missing or part.duplicates:
            by_table.setdefault(part.table, []).append(number)
    for table, numbers in by_table.items():
        parts = [report.parts[number] for number in numbers]
        missing, duplicates = sum(p.missing for p in parts), sum(p.duplicates for p in parts)
        first = parts[0]
        since = min((p.since_ms for p in parts if p.since_ms is not None), default=report.since_ms or report.time_ms)
        where = "; ".join(f"partition {p.partition}: {', '.join(p.examples)}" for p in parts)
        found.append(
            Trouble(
                rule=AUDIT_ROWS,
                metric=f"rows/{table}",
                value=missing + duplicates,
                threshold=0,
                since_ms=since,
                cause=f"{first.partition}:{first.examples[0] if first.examples else first.lo}:{since}",
                summary=f"table {table}: {missing} rows missing, {duplicates} too many ({where}); see `tidemill audit`",
            )
        )
    for one in report.projections:
        if one.equal is False:
            found.append(
                Trouble(
                    rule=AUDIT_ROWS,
                    metric=f"projections/{one.table}",
                    value=1,
                    threshold=0,
                    since_ms=report.since_ms or report.time_ms,
                    cause=one.name,
                    summary=f"projection {one.name} of table {one.table} says something else than its table",
                )
            )
    for pipeline, starts in report.windows.differing.items():
        found.append(
            Trouble(
                rule=AUDIT_WINDOWS,
                metric=f"windows/{pipeline}"[:LONGEST_NAME],
                value=len(starts),
                threshold=0,
                since_ms=starts[0],
                cause=str(starts[0]),
                summary=f"{pipeline}: {len(starts)} windows since {rfc3339(starts[0])} differ from their raw rows; "
                "see `tidemill audit`, mend with `tidemill backfill`",
            )
        )
    return found


def undecided(report: Report) -> list[str]:
    """Beginnings of the metrics that this comparison says nothing of."""
    found = [f"projections/{one.table}" for one in report.projections if one.equal is None]
    return [*found, "windows/"] if report.windows.behind else found


def silent(role: str, silent_s: float, stale_s: float, now_ms: int, why: str) -> Trouble:
    """A role that has not been heard of for too long."""
    since_ms = now_ms - round(silent_s * 1000)
    return Trouble(
        rule=ROLE_STALE,
        metric=f"silent/{role}",
        value=round(silent_s, 1),
        threshold=stale_s,
        since_ms=since_ms,
        cause=str(since_ms),
        summary=f"{role}: {why} for {silent_s:.0f} s",
    )


def _begin(trouble: Trouble, ended: ThresholdEvent | None, speaker: str, now_ms: int) -> ThresholdEvent:
    """``ended``: how the last alarm of the series ended, which makes this one another, even of the same cause."""
    after = [] if ended is None else [ended.time_ms]
    alarm_id = derived_id(trouble.rule, trouble.subject, trouble.cause, *after)
    data = ThresholdData(
        state="firing",
        rule=trouble.rule,
        kind="system",
        severity="page",
        pipeline=SYSTEM,
        metric=trouble.metric,
        value=trouble.value,
        threshold=trouble.threshold,
        window_start_ms=trouble.since_ms,
        window_end_ms=now_ms,
        detector="audit",
        alarm_id=alarm_id,
        started_ms=now_ms,
        summary=trouble.summary,
    )
    return threshold_event(alarm_id, speaker, data, now_ms)


def _end(alarm: ThresholdEvent, speaker: str, now_ms: int) -> ThresholdEvent:
    began = alarm.data
    data = ThresholdData(
        state="resolved",
        rule=began.rule,
        kind="system",
        severity=began.severity,
        pipeline=began.pipeline,
        metric=began.metric,
        value=0.0,
        threshold=began.threshold,
        window_start_ms=began.window_start_ms,
        window_end_ms=now_ms,
        detector=began.detector,
        alarm_id=began.alarm_id,
        started_ms=began.started_ms,
        summary=f"{began.metric} is in order again (alarm since {rfc3339(began.started_ms)})",
    )
    return threshold_event(derived_id(began.alarm_id, "resolved"), speaker, data, now_ms)
