"""``tidemill rules test``: service levels tried offline, on windows that a file makes up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from tidemill.cli import context

if TYPE_CHECKING:
    from streams.ruletest.run import Result

app = typer.Typer(help="Service levels: rules, objectives and budgets.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Service levels: rules, objectives and budgets."""


@app.command("test")
def test(
    files: Annotated[list[Path], typer.Argument(help="YAML files with tests; see docs/how-to/service-levels.md.")],
    as_json: Annotated[bool, typer.Option("--json", help="Only one JSON line.")] = False,
) -> None:
    """Judge made-up windows by the levels in the settings; exit code 1 where other alarms fire than expected.

    Nothing has to run for it. Example: tidemill rules test docs/how-to/service-levels.test.yaml
    """
    from streams.ruletest.files import load
    from streams.ruletest.run import run

    loaded = [(file, load(file, context.settings)) for file in files]
    results = [(file, run(each, settings)) for file, (settings, tests) in loaded for each in tests]
    if not as_json:
        _show(results)
    else:
        typer.echo(msgspec.json.encode(line(results)).decode())
    if not all(result.holds for _, result in results):
        raise typer.Exit(1)


def line(results: list[tuple[Path, Result]]) -> dict[str, Any]:
    """All results as one JSON object."""
    return {
        "holds": all(result.holds for _, result in results),
        "passed": sum(result.holds for _, result in results),
        "failed": sum(not result.holds for _, result in results),
        "tests": [
            {
                "file": str(file),
                "name": result.name,
                "holds": result.holds,
                "differences": [each._asdict() for each in result.differences],
                "said": [
                    {
                        "at_s": each.at_s,
                        "alarm": each.event.data.rule,
                        "state": each.event.data.state,
                        "severity": each.event.data.severity,
                        "summary": each.event.data.summary,
                    }
                    for each in result.said
                ],
            }
            for file, result in results
        ],
    }


def _show(results: list[tuple[Path, Result]]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for file, result in results:
        mark = "[green]ok  [/green]" if result.holds else "[red]FAIL[/red]"
        console.print(f"{mark} {escape(str(file))}: {escape(result.name)}")
        for each in result.differences:
            console.print(f"     at {_time(each.at_s)}:")
            for name in each.missing:
                console.print(f"     [red]- {escape(name)}[/red] expected, does not fire")
            for name in each.unexpected:
                console.print(f"     [green]+ {escape(name)}[/green] fires, not expected")
        if not result.holds:
            console.print("     what was said:" if result.said else "     nothing was said")
            for said in result.said:
                console.print(f"       {_time(said.at_s)} {said.event.data.state} {escape(said.event.data.summary)}")
    failed = sum(not result.holds for _, result in results)
    console.print(f"{len(results) - failed} passed, {failed} failed")


def _time(at_s: int) -> str:
    parts = [(at_s // 86_400, "d"), (at_s % 86_400 // 3_600, "h"), (at_s % 3_600 // 60, "m"), (at_s % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in parts if count) or "0s"
