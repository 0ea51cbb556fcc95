"""Runs processes: each after those it needs, again with back-off when it ends, all stopped in reverse order.

One thread owns the processes (the kernel ties their life to it); probes and preparations run beside it, so a slow one
delays nobody else.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

from tidemill.clock import Clock, SystemClock
from tidemill.errors import Stop, TidemillError
from tidemill.local import lifecycle, logfile, memory
from tidemill.local.lifecycle import Phase, State
from tidemill.local.process import Children, Process, signal_group

_TICK_S = 0.1
_PROBE_EVERY_S = 0.2
_CHECK_EVERY_S = 5.0
_HOUSEKEEPING_S = 2.0

OnChange = Callable[[State], None]


@dataclass
class _Unit:
    process: Process
    log: Path
    phase: Phase = "waiting"
    reason: str = ""
    popen: Popen[bytes] | None = None
    asked: Future[str | None] | None = None
    preparing: Future[object] | None = None
    first_start_s: float | None = None
    ready_at_s: float | None = None
    took_s: float | None = None
    next_s: float = 0.0
    failures: int = 0
    restarts: int = 0
    exit_code: int | None = None
    peak_bytes: int = 0

    def state(self) -> State:
        return State(
            name=self.process.name,
            phase=self.phase,
            pid=self.popen.pid if self.popen is not None else None,
            reason=self.reason,
            restarts=self.restarts,
            started_s=self.took_s,
            exit_code=self.exit_code,
            address=self.process.address,
            log=str(self.log),
        )


class Supervisor:
    """Keeps a set of processes running. ``on_change`` is called from its thread with each new state."""

    def __init__(
        self,
        processes: Iterable[Process],
        log_dir: Path,
        *,
        environ: Mapping[str, str] = os.environ,
        clock: Clock | None = None,
        on_change: OnChange | None = None,
    ) -> None:
        listed = list(processes)
        self._levels = lifecycle.levels(listed)
        self._units = {process.name: _Unit(process, log_dir / f"{process.name}.log") for process in listed}
        self._environ = environ
        self._clock = clock or SystemClock()
        self._on_change = on_change
        self._stop = threading.Event()
        self._hurry = threading.Event()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="probe")
        self._broken: BaseException | None = None

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._thread.start()

    def wait_ready(self, within_s: float = 900.0) -> None:
        """Block until every process is ready (steps: done).

        Raises Stop with the reason when one keeps ending without ever being ready, or the time is over.
        """
        end = self._clock.monotonic_s() + within_s
        with self._changed:
            while not self._stop.is_set():
                if self._broken is not None:
                    raise Stop(f"the supervisor failed: {self._broken}") from self._broken
                pending = [unit for unit in self._units.values() if unit.phase not in lifecycle.SETTLED]
                if not pending:
                    return
                for unit in pending:
                    self._refuse_hopeless(unit)
                if self._clock.monotonic_s() > end:
                    names = ", ".join(f"{unit.process.name} ({unit.phase} {unit.reason})" for unit in pending)
                    raise Stop(f"not ready within {within_s:g} s: {names}")
                self._changed.wait(0.5)

    def stop(self, *, hurry: bool = False) -> None:
        """Stop everything in reverse order and wait for it; ``hurry`` leaves no grace. Safe to call twice."""
        self._stop.set()
        if hurry:
            self._hurry.set()
        if self._thread is not None:
            self._thread.join()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one process and its children; its pid. It is started again. Raises Stop if not running."""
        unit = self._unit(name)
        started = unit.popen
        if started is None or started.poll() is not None or not signal_group(started.pid, number):
            raise Stop(f"{name} is not running (it is {unit.phase})")
        return started.pid

    def states(self) -> list[State]:
        """One state per process, in start order."""
        return [self._units[name].state() for level in self._levels for name in level]

    def peak_rss_mb(self) -> dict[str, float]:
        """Largest resident memory seen of each process with its children, in MB (sampled every 2 s)."""
        return {name: round(unit.peak_bytes / 1e6, 1) for name, unit in self._units.items()}

    def _unit(self, name: str) -> _Unit:
        try:
            return self._units[name]
        except KeyError:
            raise Stop(f"there is no process {name!r} in the stack; it has {', '.join(self._units)}") from None

    def _run(self) -> None:
        children = Children(self._environ)
        house_s = 0.0
        try:
            while not self._stop.is_set():
                now_s = self._clock.monotonic_s()
                for unit in self._units.values():
                    self._advance(unit, children, now_s)
                if now_s >= house_s:
                    house_s = now_s + _HOUSEKEEPING_S
                    self._housekeeping()
                self._stop.wait(_TICK_S)
        except BaseException as error:
            self._broken = error
            raise
        finally:
            try:
                self._stop_all(children)
            finally:
                children.close()
                with self._changed:
                    self._changed.notify_all()

    def _advance(self, unit: _Unit, children: Children, now_s: float) -> None:
        match unit.phase:
            case "waiting":
                self._begin_when_free(unit)
            case "preparing":
                self._start_when_prepared(unit, children, now_s)
            case "starting" | "ready":
                self._watch(unit, children, now_s)
            case "backoff" if now_s >= unit.next_s:
                self._move(unit, "waiting", "")
            case _:
                pass

    def _begin_when_free(self, unit: _Unit) -> None:
        phases = {name: other.phase for name, other in self._units.items()}
        missing = lifecycle.missing(unit.process, phases)
        if missing:
            unit.reason = ", ".join(missing)
            return
        if unit.first_start_s is None:
            unit.first_start_s = self._clock.monotonic_s()
        unit.preparing = self._pool.submit(unit.process.before) if unit.process.before else None
        self._move(unit, "preparing", "its files" if unit.preparing else "")

    def _start_when_prepared(self, unit: _Unit, children: Children, now_s: float) -> None:
        try:
            if unit.preparing is not None:
                if not unit.preparing.done():
                    return
                unit.preparing.result()
            unit.popen = children.start(unit.process, unit.log)
        except (TidemillError, OSError) as error:
            self._failed(unit, str(error), now_s)
            return
        unit.asked, unit.next_s = None, now_s
        settled = unit.process.probe is None and not unit.process.once
        self._move(unit, "starting", "")
        if settled:
            self._ready(unit, now_s)

    def _watch(self, unit: _Unit, children: Children, now_s: float) -> None:
        if unit.popen is None:
            return
        if unit.popen.poll() is not None:
            unit.exit_code = children.reap(unit.popen)
            unit.popen = None
            if unit.process.once and unit.exit_code == 0:
                self._ready(unit, now_s)
            else:
                self._failed(unit, lifecycle.why_ended(unit.exit_code, logfile.last_line(unit.log)), now_s)
        elif unit.asked is not None and unit.asked.done():
            waits_for = unit.asked.result() if unit.asked.exception() is None else str(unit.asked.exception())
            unit.asked = None
            unit.next_s = now_s + (_PROBE_EVERY_S if waits_for else _CHECK_EVERY_S)
            if waits_for is None and unit.phase == "starting":
                self._ready(unit, now_s)
            elif (waits_for or "") != unit.reason:
                self._move(unit, unit.phase, waits_for or "")
        elif unit.asked is None and unit.process.probe is not None and not unit.process.once and now_s >= unit.next_s:
            unit.asked = self._pool.submit(unit.process.probe)

    def _ready(self, unit: _Unit, now_s: float) -> None:
        unit.ready_at_s = now_s
        if unit.took_s is None and unit.first_start_s is not None:
            unit.took_s = round(now_s - unit.first_start_s, 1)
        self._move(unit, "done" if unit.process.once else "ready", "")

    def _failed(self, unit: _Unit, why: str, now_s: float) -> None:
        steady = unit.ready_at_s is not None and now_s - unit.ready_at_s >= lifecycle.STEADY_S
        unit.failures = 1 if steady else unit.failures + 1
        unit.ready_at_s = None
        unit.restarts += 1
        unit.next_s = now_s + lifecycle.backoff_s(unit.failures)
        self._move(unit, "backoff", why)

    def _move(self, unit: _Unit, phase: Phase, reason: str) -> None:
        """A change is told before ``wait_ready`` can see it."""
        with self._changed:
            unit.phase, unit.reason = phase, reason
            if self._on_change is not None:
                self._on_change(unit.state())
            self._changed.notify_all()

    def _refuse_hopeless(self, unit: _Unit) -> None:
        if unit.took_s is not None:
            return
        said = logfile.last_line(unit.log) if unit.exit_code is not None else unit.reason
        if why := lifecycle.hopeless(unit.process.name, unit.failures, unit.exit_code, said, str(unit.log)):
            raise Stop(why)

    def _housekeeping(self) -> None:
        running = {unit.popen.pid: unit for unit in self._units.values() if unit.popen is not None}
        for group, used in memory.rss_by_group(running).items():
            running[group].peak_bytes = max(running[group].peak_bytes, used)
        for unit in running.values():
            logfile.bound(unit.log)

    def _stop_all(self, children: Children) -> None:
        for level in reversed(self._levels):
            units = [self._units[name] for name in level]
            running = [(unit, unit.popen) for unit in units if unit.popen is not None]
            for _, started in running:
                started.terminate()
            begun_s = self._clock.monotonic_s()
            for unit, started in running:
                while started.poll() is None and not self._hurry.is_set():
                    if self._clock.monotonic_s() - begun_s >= unit.process.grace_s:
                        break
                    self._hurry.wait(0.02)
                unit.exit_code = children.reap(started)
                unit.popen = None
            for unit in units:
                self._move(unit, "stopped", "" if unit.exit_code is None else lifecycle.ended(unit.exit_code))
