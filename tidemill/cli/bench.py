"""``tidemill bench NAME``: the benchmarks, from a checkout."""

from __future__ import annotations

import importlib
from typing import Annotated

import typer
from rich.console import Console

from tidemill.errors import Stop

BENCHES = {
    "meter": "raw events into partials, beside Faust, Quix Streams and Bytewax",
    "sink": "raw events into ClickHouse, beside the same sink without exactly-once",
    "freshness": "from produced to queryable, and to a threshold event",
    "scale": "cost against traffic and series, memory over a soak",
    "drift": "change detectors: delay beside false alarms, and whether the false-alarm budget holds",
    "turn": "a candidate's way: what labels give (--long), how often the rollout decides wrongly, how soon rightly",
    "live": "a whole turn by itself on real questions, on a running deployment: from the alarm to the champion",
    "shared": "one shared base with an adapter a pipeline, beside a model of its own for each",
}
"""What each measures. The module ``benchmarks.<name>`` has ``measure(long: bool) -> Result``; where its page shows what
only a long run finds, also ``page_lacks(long: bool) -> str``: what a run needs for all that, empty where it has it."""

LONG_HELP = "More repetitions, longer soaks: from some minutes up to an hour; turn takes an hour and a half."
PAGE_HELP = "Write the tables into their page of docs/ too; those of drift and turn take a run with --long."


def bench(
    name: Annotated[
        str, typer.Argument(help="One of:\n\n" + "\n\n".join(f"{name}: {does}" for name, does in BENCHES.items()))
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Only the JSON line.")] = False,
    long: Annotated[bool, typer.Option("--long", help=LONG_HELP)] = False,
    page: Annotated[bool, typer.Option("--page", help=PAGE_HELP)] = False,
) -> None:
    """Measure; reports and never judges: a goal that is missed is said so and the exit code stays 0.

    Example: tidemill bench sink --json
    """
    if name not in BENCHES:
        raise Stop(f"there is no benchmark {name!r}; choose one of {', '.join(BENCHES)}")
    try:
        module = importlib.import_module(f"benchmarks.{name}")
    except ModuleNotFoundError as error:
        raise Stop(f"benchmark {name!r} needs {error.name}, which is not installed; run it from a checkout") from error
    if page and (lacks := getattr(module, "page_lacks", _nothing)(long=long)):
        raise Stop(f"this run would replace what the page of {name} shows by less: give {lacks}, or leave --page out")
    result = module.measure(long=long)
    if not as_json:
        result.show(Console(highlight=False))
    if page:
        result.into_page()
    typer.echo(result.line())


def _nothing(*, long: bool) -> str:
    """What most pages lack."""
    return ""
