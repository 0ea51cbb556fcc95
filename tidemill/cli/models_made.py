"""What people see while the demo's models are trained: minutes the first time, nothing after that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tidemill.clock import Clock, SystemClock
from tidemill.local.models import Report

EVERY_S = 15.0
"""Between two lines of one training, where there is no bar."""


def first_time(kept: str) -> str:
    """What to say before the first training."""
    return (
        "the demo's models are trained the first time: some four minutes on two processors, longer on a busy machine; "
        f"then they are kept in {kept}"
    )


class ModelLines:
    """A ``Report`` that says lines: what is trained, where it is every 15 s, what is done."""

    def __init__(self, say: Callable[[str], object], clock: Clock) -> None:
        self._say, self._clock = say, clock
        self._announced = False
        self._due_s = 0.0

    def __call__(self, what: str, facts: Mapping[str, Any]) -> None:
        now_s = self._clock.monotonic_s()
        if "begun" in facts:
            if not self._announced:
                self._say(first_time(facts["kept"]))
            self._announced, self._due_s = True, now_s + EVERY_S
            self._say(f"model {what} ({facts['begun']} of {facts['all']}): loads, which takes a while, then trains")
        elif facts.get("done"):
            self._say(f"model {what}: trained")
        elif "step" in facts and now_s >= self._due_s:
            self._due_s = now_s + EVERY_S
            self._say(f"model {what}: step {facts['step']} of {facts.get('of', '?')}")


class ModelBars:
    """A ``Report`` that draws a bar for each training, which pulses until its first step."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, facts: Mapping[str, Any]) -> None:
        if "begun" in facts:
            if not self._tasks:
                self._bars.console.print(escape(first_time(facts["kept"])), soft_wrap=True)
            title = f"  model {what} ({facts['begun']} of {facts['all']})"
            self._tasks[what] = self._bars.add_task(title, total=None, step="loads")
        elif what in self._tasks and facts.get("done"):
            self._bars.update(self._tasks[what], step="trained")
            self._bars.stop_task(self._tasks[what])
        elif what in self._tasks and "step" in facts:
            step, of = facts["step"], facts.get("of")
            self._bars.update(self._tasks[what], completed=step, total=of, step=f"step {step} of {of or '?'}")


@contextmanager
def models_shown(console: Console, clock: Clock | None = None) -> Iterator[Report]:
    """How to report to people: bars on a terminal, else lines."""
    if not console.is_terminal:
        yield ModelLines(lambda line: console.print(line, markup=False, soft_wrap=True), clock or SystemClock())
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[step]}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bars:
        yield ModelBars(bars)
