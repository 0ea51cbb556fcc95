"""``tidemill backfill``: windows computed anew from the raw rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tidemill.cli import context
from tidemill.cli.times import epoch_ms
from tidemill.clock import SystemClock
from tidemill.errors import Retry, Stop

if TYPE_CHECKING:
    from streams.backfill.run import Outcome


def backfill(
    since: Annotated[
        str, typer.Option("--from", help="Start: 2026-11-27T16:00 (UTC), 2h (ago) or epoch milliseconds.")
    ],
    until: Annotated[str, typer.Option("--to", help="End, likewise; at most until the last closed window.")],
    pipeline: Annotated[list[str] | None, typer.Option(help="Only this pipeline; may be given again.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what differs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Only one JSON line.")] = False,
) -> None:
    """Compute windows anew from raw rows and write what differs, as their next revision.

    Example: tidemill backfill --from 2026-11-27T16:00 --to 2026-11-27T17:00 --dry-run
    """
    from streams.backfill.run import backfill as compute
    from tidemill.codec import encode
    from tidemill.io.clickhouse import Store, StoreError

    clock = SystemClock()
    now_ms = clock.now_ms()
    since_ms, until_ms = epoch_ms("--from", since, now_ms), epoch_ms("--to", until, now_ms)
    settings = context.quiet(context.settings())
    context.needs_stack(settings)
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=None)
        try:
            outcome = compute(
                settings,
                Store(settings),
                clock,
                since_ms,
                until_ms,
                only=pipeline or (),
                write=not dry_run,
                progress=lambda name, done, of: bar.update(task, description=name, completed=done, total=of),
            )
        except (Retry, StoreError) as error:
            raise Stop(f"the backfill was cut short: {error}; see `tidemill status`, then run it again") from error
    if not as_json:
        _show(outcome)
    typer.echo(encode(outcome).decode())


def _show(outcome: Outcome) -> None:
    done = "written" if outcome.written else "would be written"
    typer.echo(
        f"{outcome.windows:,} windows computed anew: {outcome.changed_rows:,} rows of {outcome.changed_windows:,} "
        f"windows {done} ({outcome.missing_windows:,} of them were missing)"
    )
    if outcome.repeated_events:
        typer.echo(f"{outcome.repeated_events:,} events came again from their producer and count once")
    if outcome.unsampled_windows:
        typer.echo(f"{outcome.unsampled_windows:,} windows keep their text metrics: these rest on a sample")
    if outcome.windows_without_rows:
        typer.echo(f"{outcome.windows_without_rows:,} windows are left as they are: their raw rows are gone")
