"""Decisions about the processes of the stack: order, back-off, what a state is called. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from tidemill.errors import Stop
from tidemill.local.process import Process

Phase = Literal["waiting", "preparing", "starting", "ready", "done", "backoff", "stopped"]
SETTLED: frozenset[Phase] = frozenset({"ready", "done"})
"""Phases that let dependants start."""
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
STEADY_S = 30.0
"""A process that was ready this long has proven itself: its next back-off starts small again."""
HOPELESS_FAILURES = 5
"""So many ends in a row without ever being ready, and a start is given up."""


@dataclass(frozen=True)
class State:
    """What people see of one process."""

    name: str
    phase: Phase
    pid: int | None = None
    reason: str = ""
    """What it waits for, or how it ended."""
    restarts: int = 0
    started_s: float | None = None
    """Seconds from its first start to ready; None: not yet."""
    exit_code: int | None = None
    address: str = ""
    log: str = ""


def backoff_s(failures: int) -> float:
    """Pause before the next start after so many ends in a row (1 = the first): 0.5 s, doubling, at most 30 s."""
    return min(LONGEST_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(failures - 1, 16))


def missing(process: Process, phases: Mapping[str, Phase]) -> list[str]:
    """Names this process still waits for. Names outside the stack run elsewhere and are not waited for."""
    return [name for name in process.after if name in phases and phases[name] not in SETTLED]


def levels(processes: Iterable[Process]) -> list[list[str]]:
    """Names in start order, those that can start together in one list; stop in reverse.

    Raises Stop on a name given twice or a circle.
    """
    left: dict[str, Process] = {}
    for process in processes:
        if process.name in left:
            raise Stop(f"the stack has two processes named {process.name!r}")
        left[process.name] = process
    ordered: list[list[str]] = []
    while left:
        free = [name for name, process in left.items() if not any(other in left for other in process.after)]
        if not free:
            raise Stop(f"these processes wait for each other in a circle: {', '.join(left)}")
        ordered.append(free)
        for name in free:
            del left[name]
    return ordered


def ended(code: int) -> str:
    """How a process ended, in words."""
    return f"killed by signal {-code}" if code < 0 else f"ended with code {code}"


def why_ended(code: int, last_line: str) -> str:
    """How a process ended, with what it said of it on purpose (``tidemill: …``) as its last words."""
    said = last_line.removeprefix("tidemill: ")
    return f"{ended(code)}: {said}" if code > 0 and said != last_line else ended(code)


def hopeless(name: str, failures: int, code: int | None, last_line: str, log: str) -> str | None:
    """Why to give up a start; None: go on."""
    if failures < HOPELESS_FAILURES:
        return None
    how = "" if code is None else f", last time it {ended(code) if code >= 0 else 'was ' + ended(code)}"
    said = f": {last_line}" if last_line else ""
    return f"{name} does not start: tried {failures} times{how}{said} (log: {log})"
