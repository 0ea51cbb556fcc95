"""``tidemill demo``: the loop closed once, headless."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from rich.console import Console

from producers.language import TextSource, read_csv
from tidemill.cli import context
from tidemill.cli.models_made import ModelLines
from tidemill.clock import Clock, SystemClock
from tidemill.errors import Stop
from tidemill.local.corpus import PIPELINES
from tidemill.local.demo.goals import judge_exit
from tidemill.local.demo.kills import MOMENTS
from tidemill.local.demo.report import show
from tidemill.local.demo.scenario import SCENARIOS, on_texts

TEXTS_RATE = 12.0
TEXTS_LABELS = 8_900


def demo(
    scenario: Annotated[
        str, typer.Option(help="; ".join(f"{each.name}: {each.gist}" for each in SCENARIOS.values()))
    ] = "loop",
    seed: Annotated[int, typer.Option(help="Same seed, same users.")] = 0,
    turns: Annotated[int, typer.Option(help="Only so many of the story's turns; 0: all.", min=0)] = 0,
    kill: Annotated[
        str, typer.Option(help="Kill these once each on the way, commas between; of: " + ", ".join(MOMENTS))
    ] = "",
    texts: Annotated[Path | None, typer.Option(help="CSV file with real labelled texts, spoken as `support`.")] = None,
    text_column: Annotated[str, typer.Option(help="With --texts: its column with the text.")] = "text",
    label_column: Annotated[str, typer.Option(help="With --texts: its column with the label.")] = "label",
    hold_back: Annotated[
        float, typer.Option(help="With --texts: share of labels that arrive at the change.", min=0.05, max=0.9)
    ] = 0.5,
    fresh_labels: Annotated[int, typer.Option(help="With --texts: labels to collect before training.", min=10)] = (
        TEXTS_LABELS
    ),
    rate: Annotated[float, typer.Option(help="With --texts: calls a second after the change.", min=0.1)] = TEXTS_RATE,
    as_json: Annotated[bool, typer.Option("--json", help="Only the JSON line on standard output.")] = False,
) -> None:
    """Close the loop once and count everything; exit code 0 only if it closed.

    Ctrl-C or SIGTERM stops everything.

    Examples: tidemill demo
              tidemill demo --scenario bad-canary --seed 3
              tidemill demo --texts questions.csv --text-column text --label-column category
    """
    from tidemill.local.demo.story import Play, play

    if scenario not in SCENARIOS:
        raise Stop(f"--scenario {scenario!r}: choose one of {', '.join(SCENARIOS)}")
    if texts is not None and scenario != "loop":
        raise Stop(f"--scenario {scenario} has no version with --texts; leave one of the two out")
    kills = kills_of(kill)
    settings = context.settings()
    context.needs_pipelines(settings)
    if missing := [name for name in PIPELINES if name not in settings.pipelines]:
        raise Stop(f"the demo's users call {' and '.join(PIPELINES)}, and the settings have no pipeline {missing[0]!r}")
    source = _texts(texts, text_column, label_column, hold_back, seed)
    chosen = SCENARIOS[scenario] if source is None else on_texts(rate, fresh_labels)
    console = Console(stderr=as_json, highlight=False, soft_wrap=True)
    logging.basicConfig(level=logging.WARNING)
    clock = SystemClock()
    begun_s = clock.monotonic_s()

    def say(line: str) -> None:
        console.print(f"[dim]{clock.monotonic_s() - begun_s:6.1f} s[/]  {line}")

    what = Play(scenario=chosen, seed=seed, texts=source, kills=kills, turns=turns or None)
    try:
        with _ended_by_signals():
            result = play(settings, what, clock, say, _Progress(say, clock))
    except _EndedBySignal as ended:
        say(f"ended from outside ({ended.signal.name}); all that it had started is stopped")
        raise typer.Exit(128 + ended.signal) from None
    show(result["figures"], result["goals"], console)
    print(json.dumps(result), flush=True)
    raise typer.Exit(judge_exit(result))


class _EndedBySignal(BaseException):
    """Not an Exception, so that nothing on the way takes it for an error that it can live with."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Ctrl-C and SIGTERM end the block in order; a second one ends the process, and its guard what it has started."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    def end(number: int, _frame: FrameType | None) -> None:
        for each in numbers:
            signal.signal(each, signal.SIG_DFL)
        raise _EndedBySignal(number)

    before = {number: signal.signal(number, end) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def kills_of(names: str) -> tuple[str, ...]:
    """The roles to kill, from ``a,b``. Raises Stop on one whose moment is not known."""
    kills = tuple(name.strip() for name in names.split(",") if name.strip())
    if unknown := [name for name in kills if name not in MOMENTS]:
        raise Stop(f"--kill {unknown[0]!r}: choose from {', '.join(MOMENTS)}")
    return kills


class _Progress:
    """Says each step once: a model trained, a process ready or ended."""

    def __init__(self, say: Any, clock: Clock) -> None:
        self._say = say
        self._models = ModelLines(say, clock)
        self._said: set[str] = set()

    def __call__(self, name: str, facts: Mapping[str, Any]) -> None:
        line = ""
        if facts.get("cached"):
            line = f"model {name}: kept from before"
        elif "phase" not in facts:
            self._models(name, facts)
        elif facts.get("phase") in ("ready", "done") and not facts.get("restarts"):
            line = f"{name} {facts['phase']} in {facts.get('started_s') or 0:.1f} s"
        elif facts.get("phase") == "backoff":
            line = f"{name}: {facts.get('reason')} (log: {facts.get('log')})"
        elif facts.get("phase") == "ready":
            line = f"{name} back after restart {facts['restarts']}"
        if line and line not in self._said:
            self._said.add(line)
            self._say(line)


def _texts(file: Path | None, text: str, label: str, hold_back: float, seed: int) -> TextSource | None:
    if file is None:
        return None
    if not file.is_file():
        raise Stop(f"--texts {file}: " + ("is a folder, not a CSV file" if file.is_dir() else "no such file"))
    try:
        return read_csv(file, text, label, hold_back, seed)
    except ValueError as error:
        raise Stop(str(error)) from error
