"""``tidemill status`` and ``tidemill down``: the embedded stack seen from another terminal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from tidemill.cli import context
from tidemill.clock import Clock, SystemClock
from tidemill.local import lifecycle, statefile
from tidemill.local.statefile import StackFile

_COLOURS = {"ready": "green", "done": "green", "backoff": "red"}


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show the running stack's processes; exit code 1 when none runs or a process is not ready.

    Example: tidemill status --json
    """
    settings = context.settings()
    stack = statefile.read(settings.data_dir)
    if as_json:
        typer.echo(msgspec.json.encode({"running": stack is not None, "stack": stack}).decode())
    elif stack is None:
        typer.echo(f"no stack is running on {settings.data_dir}; start one with `tidemill up`")
    else:
        _show(stack, SystemClock())
    if stack is None or any(state.phase not in lifecycle.SETTLED for state in stack.processes):
        raise typer.Exit(1)


def down() -> None:
    """Stop the running stack, dependants first, and wait until it is gone.

    Example: tidemill down
    """
    settings = context.settings()
    pid = statefile.end(settings.data_dir)
    typer.echo(f"no stack is running on {settings.data_dir}" if pid is None else f"stopped (process {pid})")


def _show(stack: StackFile, clock: Clock) -> None:
    console = Console(highlight=False)
    minutes = (clock.now_ms() - stack.started_ms) / 60_000
    console.print(f"running for {minutes:.0f} min as process {stack.pid}, ports from {stack.port_base}")
    table = Table(box=None, pad_edge=False)
    reasons = ("waits for / ended",) if any(state.reason for state in stack.processes) else ()
    for column in ("process", "state", "pid", "restarts", "peak MB", "address", *reasons):
        right = column in ("pid", "restarts", "peak MB")
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=column not in reasons)
    for state in stack.processes:
        colour = _COLOURS.get(state.phase, "yellow")
        fields = asdict(state)
        peak = stack.peak_rss_mb.get(state.name, 0.0)
        table.add_row(
            state.name,
            f"[{colour}]{state.phase}[/{colour}]",
            str(fields["pid"] or ""),
            str(state.restarts or ""),
            f"{peak:.0f}" if peak else "",
            state.address,
            *([state.reason] if reasons else ()),
        )
    console.print(table)
