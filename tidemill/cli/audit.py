"""``tidemill audit``: is every message a row, once, and every window what its rows say?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from tidemill.cli import context
from tidemill.clock import SystemClock
from tidemill.errors import Retry, Stop

if TYPE_CHECKING:
    from consumers.audit.report import Report, Windows

QUERY_TIMEOUT_S = 600.0
"""A whole table may be looked at, and somebody waits who can end it."""


def audit(
    as_json: Annotated[bool, typer.Option("--json", help="Only one JSON line.")] = False,
    look_back: Annotated[
        float, typer.Option(help="Compare what arrived in the last so many seconds; 0: all that Kafka keeps.", min=0)
    ] = 0,
) -> None:
    """Compare topics, rows and windows with each other; exit code 1 where they differ.

    Example: tidemill audit --look-back 3600
    """
    from consumers.audit.compare import audit as compare
    from tidemill.codec import encode
    from tidemill.io.clickhouse import Store, StoreError

    settings = context.quiet(context.settings())
    context.needs_stack(settings)
    clock = SystemClock()
    since_ms = max(0, clock.now_ms() - round(look_back * 1000)) if look_back else None
    console = Console(stderr=True)
    columns = (
        TextColumn("comparing"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        try:
            report = compare(
                settings,
                Store(settings, query_timeout_s=QUERY_TIMEOUT_S),
                clock,
                since_ms,
                lambda what, done, of: bar.update(task, description=what, completed=done, total=of),
            )
        except (Retry, StoreError) as error:
            raise Stop(f"the comparison could not be finished: {error}; see `tidemill status`") from error
    if not as_json:
        _show(report)
    typer.echo(encode(line(report)).decode())
    if not report.holds:
        raise typer.Exit(1)


def line(report: Report) -> dict[str, object]:
    """The report with its conclusions in front."""
    return {
        "holds": report.holds,
        "missing": report.missing,
        "duplicates": report.duplicates,
        "differing_windows": report.windows.different,
        "unequal_projections": report.unequal,
        "report": report,
    }


def _show(report: Report) -> None:
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in (
        "table",
        "partition",
        "offsets",
        "rows",
        "missing",
        "too many",
        "dead letters",
        "unburied",
        "expired",
        "holes",
        "where",
    ):
        table.add_column(column, justify="left" if column in ("table", "offsets", "where") else "right")
    for part in report.parts:
        if part.hi > part.lo:
            wrong = "red" if part.missing or part.duplicates else ""
            numbers = (
                part.rows,
                part.missing,
                part.duplicates,
                part.dead_letters,
                part.unburied,
                part.expired,
                part.holes,
            )
            offsets = f"{part.lo:,}-{part.hi - 1:,}"
            cells = (part.table, str(part.partition), offsets, *(f"{n:,}" for n in numbers), ", ".join(part.examples))
            table.add_row(*cells, style=wrong)
    console.print(table)
    for repeats in report.repeats:
        if repeats.repeated:
            console.print(
                f"{repeats.table}: {repeats.repeated:,} of {repeats.rows:,} rows ({repeats.share:.2%}) came again from "
                "their producer; `tidemill backfill` counts each once"
            )
    for one in report.projections:
        said = {
            True: "equal",
            False: "[red]not equal[/red]",
            None: "not compared (no rows in it yet, the table kept changing, or the store refused)",
        }[one.equal]
        console.print(f"projection {escape(one.name)} of {one.table}: {said}")
    _show_windows(console, report.windows)


def _show_windows(console: Console, windows: Windows) -> None:
    if windows.behind:
        console.print(
            f"windows: not compared, as the sink is {windows.behind:,} messages behind; see `tidemill status`"
        )
        return
    console.print(
        f"windows: {windows.compared:,} compared, {windows.different:,} differ; left out: {windows.incomplete:,} "
        f"incomplete, {windows.late:,} with rows that may have come late, {windows.repeated:,} with repeated events, "
        f"{windows.gone:,} without raw rows, {windows.stray:,} of pipelines that the stream does not know"
    )
    for example in windows.examples:
        series = " ".join(filter(None, (example.model_version, example.variant, example.role, example.slice)))
        console.print(
            f"  [red]{escape(example.pipeline)}[/red] {example.start_ms} {escape(series)} {escape(example.metric)}: "
            f"stream {example.stream or 'nothing'}, rows {example.rows or 'nothing'}"
        )
