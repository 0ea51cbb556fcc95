"""From what an audit found to troubles: what alarms are made of (tidemill.troubles). Pure."""

from __future__ import annotations

from consumers.audit.report import Report
from tidemill.clock import rfc3339
from tidemill.troubles import LONGEST_NAME, Trouble

AUDIT_ROWS, AUDIT_WINDOWS, ROLE_STALE = "audit_rows", "audit_windows", "role_stale"


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
