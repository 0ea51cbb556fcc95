"""``tidemill status`` and ``tidemill down``: the embedded stack seen from another terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tidemill.cli import context
from tidemill.clock import Clock, SystemClock, rfc3339
from tidemill.errors import TidemillError
from tidemill.events import RetrainDecision
from tidemill.io.role_page import holding_silences
from tidemill.io.spend import Spend, allowed_a_day, spent
from tidemill.local import lifecycle, statefile
from tidemill.local.statefile import StackFile
from tidemill.settings import Settings

STORE_S = 2.0
_COLOURS = {"ready": "green", "done": "green", "backoff": "red"}


def status(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Show the running stack's processes, how many silences hold, what was spent of the budget of false alarms, and the
    last decision on a retraining of each pipeline.

    Exit code 1 when none runs or a process is not ready.

    Example: tidemill status --json
    """
    settings = context.settings()
    pid = statefile.running(settings.data_dir)
    stack = statefile.read(settings.data_dir)
    found = {} if stack is None else spent(settings.at_ports(stack.port_base))
    silences = None if stack is None else holding_silences(settings.at_ports(stack.port_base))
    decisions = [] if stack is None else _decisions(settings.at_ports(stack.port_base), SystemClock())
    if as_json:
        a_day = {"allowed_a_day": allowed_a_day(settings)}
        spend = {name: each._asdict() | a_day for name, each in found.items()}
        line: dict[str, Any] = {"running": pid is not None, "stack": stack, "false_alarms": spend}
        line |= {"silences": silences, "decisions": decisions}
        typer.echo(msgspec.json.encode(line).decode())
    elif pid is None:
        typer.echo(f"no stack is running on {settings.data_dir}; start one with `tidemill up`")
    elif stack is None:
        typer.echo(f"process {pid} has {settings.data_dir} and is about to start or to end; look again in a moment")
    else:
        _show(stack, SystemClock())
        if silences:
            typer.echo(f"\nsilences and maintenance that hold now: {silences}; see `tidemill silence list`")
        _show_spend(found, settings)
        _show_decisions(decisions)
    if not settled(stack):
        raise typer.Exit(1)


def _decisions(settings: Settings, clock: Clock) -> list[RetrainDecision]:
    """The last one of each pipeline; none where the store does not answer. Blocks a second or so."""
    from tidemill.io.clickhouse import Store
    from tidemill.io.decisions import latest

    try:
        found = latest(Store(settings, query_timeout_s=STORE_S), clock.now_ms(), 1)
    except TidemillError:
        return []
    return [said for each in found.values() for said in each]


def settled(stack: StackFile | None) -> bool:
    """Whether a stack runs and all of it is ready."""
    if stack is None or not stack.processes:
        return False
    return all(state.phase in lifecycle.SETTLED for state in stack.processes)


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
    if stack.doing:
        console.print(f"nothing is started yet: {stack.doing}", markup=False, soft_wrap=True)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for column in ("process", "state", "pid", "restarts", "peak MB", "address"):
        right = column in ("pid", "restarts", "peak MB")
        table.add_column(column, justify="right" if right else "left", overflow="fold", no_wrap=True)
    for state in stack.processes:
        colour = _COLOURS.get(state.phase, "yellow")
        peak = stack.peak_rss_mb.get(state.name, 0.0)
        table.add_row(
            state.name,
            f"[{colour}]{state.phase}[/{colour}]",
            str(state.pid or ""),
            str(state.restarts or ""),
            f"{peak:.0f}" if peak else "",
            state.address,
        )
    console.print(table)
    for state in stack.processes:
        if state.reason:
            verb = " waits for" if state.phase in ("waiting", "preparing", "starting") else ":"
            console.print(f"{state.name}{verb} {state.reason}", markup=False, soft_wrap=True)


def _show_spend(found: Mapping[str, Spend], settings: Settings) -> None:
    """Nothing where nothing is known."""
    if not found:
        return
    console = Console(highlight=False)
    console.print(f"\nfalse alarms: at most {settings.max_false_alarms} (max_false_alarms)", soft_wrap=True)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("pipeline", overflow="fold")
    for column in ("series", "allowed a day", "allowed so far", "detectors' alarms so far"):
        table.add_column(column, justify="right", no_wrap=True)
    a_day = allowed_a_day(settings)
    for name, spend in found.items():
        figures = f"{spend.series:,}", f"{a_day:.3g}", f"{spend.allowed:.3g}", f"{spend.alarms:,}"
        table.add_row(escape(name), *figures)
    console.print(table)


def _show_decisions(decisions: Sequence[RetrainDecision]) -> None:
    """A line each, with the reason that decided."""
    if not decisions:
        return
    console = Console(highlight=False)
    console.print("\nlast decision on a retraining (all: the console, and table decisions)", soft_wrap=True)
    for said in decisions:
        console.print(told(said), markup=False, soft_wrap=True)


def told(said: RetrainDecision) -> str:
    """One decision in a line: what was decided, on what, when, and why."""
    act = "not now" if said.act == "decline" and said.again_ms is not None else said.act
    return f"{said.pipeline}: {act} ({said.trigger}, {rfc3339(said.time_ms)[:19]}Z): {said.reasons[0]}"
