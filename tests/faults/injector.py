"""Does what a plan of faults says, when its time comes."""

from __future__ import annotations

import heapq
import itertools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence

from tests.faults.deployment import CONTINUE, END, KILL, STOP, Deployment
from tests.faults.proxy import MODES
from tests.faults.scenarios import Fault
from tidemill.errors import Stop

RENAMES = "rename,renameat,renameat2"
_TICK_S = 0.05
_AGAIN_S = 0.3
_LATEST_S = 60.0
"""A part that is just starting again is hurt as soon as it runs, at most so much later."""


class Injector:
    """Call ``run_while``. ``done`` counts the faults that took place, by action and target."""

    def __init__(self, deployment: Deployment, faults: Sequence[Fault], start_s: float) -> None:
        """``start_s``: when the story starts, by the monotonic clock."""
        self.done: dict[str, int] = {}
        self._deployment = deployment
        self._numbers = itertools.count()
        self._steps: list[tuple[float, int, Callable[[], None]]] = []
        self._tracers: list[subprocess.Popen[bytes]] = []
        for fault in faults:
            self._at(start_s + fault.at_s, self._doing(fault, start_s + fault.at_s + _LATEST_S))

    def run_while(self, busy: Callable[[], bool]) -> None:
        """Do what is due, until every fault is over and ``busy`` says no. Blocks."""
        while busy() or self._steps:
            while self._steps and self._steps[0][0] <= time.monotonic():
                heapq.heappop(self._steps)[2]()
            time.sleep(_TICK_S)

    def close(self) -> None:
        """End tracers whose rename never came. Fails where one was not allowed to watch."""
        for tracer in self._tracers:
            tracer.terminate()
            said = tracer.communicate(timeout=10)[1].decode()
            assert "not permitted" not in said, f"the store cannot be watched: {said.strip()}; allow ptrace here"

    def _at(self, at_s: float, step: Callable[[], None]) -> None:
        heapq.heappush(self._steps, (at_s, next(self._numbers), step))

    def _doing(self, fault: Fault, latest_s: float) -> Callable[[], None]:
        def do() -> None:
            try:
                self._do(fault)
            except Stop:  # it does not run just now
                if time.monotonic() > latest_s:
                    raise
                self._at(time.monotonic() + _AGAIN_S, do)
                return
            name = f"{fault.action} {fault.target}"
            self.done[name] = self.done.get(name, 0) + 1

        return do

    def _do(self, fault: Fault) -> None:
        end_s = time.monotonic() + fault.for_s
        match fault.action:
            case "kill":
                self._deployment.hurt(fault.target, KILL)
            case "end":
                self._deployment.hurt(fault.target, END)
            case "freeze":
                self._deployment.hurt(fault.target, STOP)
                self._at(end_s, lambda: self._continue(fault.target))
            case "rename":
                self._tracers.append(kill_at_rename(self._deployment.pid(fault.target)))
            case "proxy":
                self._deployment.proxy.mode = next(mode for mode in MODES if mode == fault.target)
                self._at(end_s, self._pass)
            case "fill":
                self._deployment.fill_disk()
                self._at(end_s, self._deployment.free_disk)
            case other:
                raise ValueError(f"no such fault: {other}")

    def _continue(self, target: str) -> None:
        try:
            self._deployment.hurt(target, CONTINUE)
        except Stop:
            pass  # something else ended it meanwhile

    def _pass(self) -> None:
        self._deployment.proxy.mode = "pass"


def kill_at_rename(pid: int) -> subprocess.Popen[bytes]:
    """Watch a process; SIGKILL it as it enters its next rename. Fails where it cannot be watched."""
    strace = shutil.which("strace")
    assert strace is not None, "a store killed exactly at a rename takes strace: apt-get install strace"
    inject = ["-e", f"trace={RENAMES}", "-e", f"inject={RENAMES}:signal=SIGKILL:when=1"]
    return subprocess.Popen([strace, "-f", "-qq", "-o", os.devnull, *inject, "-p", str(pid)], stderr=subprocess.PIPE)
