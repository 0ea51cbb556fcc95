"""``tidemill compare``: arrangements beside each other, measured on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table

from tidemill.cli import context
from tidemill.errors import Stop

if TYPE_CHECKING:
    from retrain.shared.figures import Finding

app = typer.Typer(help="Arrangements beside each other, measured here.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Arrangements beside each other, measured here."""


@app.command("shared")
def shared(
    pipelines: Annotated[list[str] | None, typer.Argument(help="Two or more; without, all that share a base.")] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(help="PIPELINE=FILE.jsonl: rows of prompt and completion instead of its newest data set."),
    ] = None,
    usd_per_cpu_hour: Annotated[
        float | None, typer.Option(help="Price of a core for an hour, to reckon in money; without, in CPU time.", min=0)
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few steps and questions: to see that it works.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of a table.")] = False,
) -> None:
    """Compare one shared base with an adapter for each pipeline against a model of its own for each.

    Trains both from the same rows and lets both answer the same questions: quality, latency, memory and cost of each.
    Minutes on a small base; it changes nothing of the deployment.

    Example: tidemill compare shared schedule support
    """
    from retrain import places
    from retrain.shared.figures import HOW, advice, busy, findings
    from retrain.shared.run import compare
    from retrain.shared.sources import pipelines_of

    settings = context.settings()
    context.needs_pipelines(settings)
    names = list(dict.fromkeys(pipelines or settings.pipelines))
    for name in names:
        context.needs_pipeline(settings, name)
    if len(names) < 2:
        raise Stop("there is nothing to share by one pipeline; name two or more")
    chosen = pipelines_of(settings, names, _files(rows or (), names), quick=quick)
    with tempfile.TemporaryDirectory(prefix="tidemill-compare-") as scratch:
        report = _silent if as_json else _told()
        base = places.base_dir(settings, names[0])
        compared = compare(chosen, base, Path(scratch), report, usd_per_cpu_hour=usd_per_cpu_hour)
    found = findings(compared)
    if as_json:
        told = {
            "compared": compared,
            "findings": found,
            "advice": advice(found),
            "busy": busy(compared),
            "how": HOW,
            "quick": quick,
        }
        typer.echo(msgspec.json.encode(told).decode())
        return
    console = Console(highlight=False)
    console.print(_table(found))
    for line in advice(found):
        console.print(line, markup=False)
    console.print(f"! {HOW}", markup=False)
    if noted := busy(compared):
        console.print(f"! {noted}", markup=False)
    if quick:
        console.print("! few steps and questions (--quick): the figures say nothing of a real training")


def _files(rows: Sequence[str], names: Sequence[str]) -> dict[str, Path]:
    files = {}
    for each in rows:
        name, _, file = each.partition("=")
        if name not in names or not file:
            raise Stop(f"--rows {each!r}: write PIPELINE=FILE.jsonl with one of {', '.join(names)}")
        files[name] = Path(file)
    return files


def _table(found: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in ("pipeline", "", "shared base", "separate models", "better", ""):
        table.add_column(column, overflow="fold")
    for each in found:
        better = "" if each.better == "neither" else each.better
        table.add_row(each.pipeline or "together", each.aspect, each.shared, each.separate, better, each.why)
    return table


def _silent(_: dict[str, Any]) -> None:
    """Nobody reads progress beside JSON."""


def _told() -> Callable[[dict[str, Any]], None]:
    said: set[str] = set()

    def tell(line: dict[str, Any]) -> None:
        note = str(line.get("note", ""))
        if note and note not in said:
            said.add(note)
            typer.echo(note)

    return tell
