"""``tidemill reproduce``: the training of a version again, and what differs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console

from tidemill.cli import context

if TYPE_CHECKING:
    from retrain.reproduce.compare import Reproduced


def reproduce(
    name: Annotated[str, typer.Argument(help="A version, such as schedule-v2, or a job (its id, or how it begins).")],
    scores: Annotated[bool, typer.Option("--scores/--no-scores", help="Whether it is scored again, too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of words.")] = False,
) -> None:
    """Train a version again from its manifest: the same data, seed and recipe; compare weights and scores.

    On the machine that trained it the weights are equal, bit for bit. Ends with 1 where anything differs.

    Example: tidemill reproduce schedule-v2
    """
    from retrain.reproduce.run import reproduce as again

    settings = context.settings()
    with tempfile.TemporaryDirectory(prefix="tidemill-reproduce-") as scratch:
        found = again(settings, name, Path(scratch), _silent if as_json else _told(), scored=scores)
    if as_json:
        typer.echo(msgspec.json.encode(msgspec.to_builtins(found) | {"same": not found.differences}).decode())
    else:
        _show(found)
    if found.differences:
        raise typer.Exit(1)


def _show(found: Reproduced) -> None:
    console = Console(highlight=False)
    console.print(f"{found.version or found.job_id}: data {found.data_digest[:12]}, base {found.base_digest[:12]}")
    same = "the same, bit for bit" if found.weights.equal else "NOT THE SAME"
    console.print(f"weights {found.weights.recorded[:12]}, again {found.weights.again[:12]}: {same}")
    for name, (one, other) in found.scores.items():
        both = (("unknown" if each is None else f"{each:.4f}") for each in (one, other))
        console.print("{}: {}, again {}".format(name, *both), markup=False)
    for difference in found.differences:
        console.print(f"! {difference}", markup=False)


def _silent(_: dict[str, Any]) -> None:
    """Nobody reads progress beside JSON."""


def _told() -> Callable[[dict[str, Any]], None]:
    tenths: set[int] = set()

    def tell(line: dict[str, Any]) -> None:
        if "loss" in line and line.get("of") and (tenth := 10 * line["step"] // line["of"]) not in tenths:
            tenths.add(tenth)
            typer.echo(f"step {line['step']} of {line['of']}, loss {line['loss']:.3f}")

    return tell
