"""The embedded stack as one object: start it, look at it, kill parts of it, stop it."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import yaml

from tidemill.clock import Clock, SystemClock
from tidemill.io.modes import write_private
from tidemill.local import statefile
from tidemill.local.lifecycle import State
from tidemill.local.plan import embedded_stack
from tidemill.local.ports import refuse_taken
from tidemill.local.supervisor import Supervisor
from tidemill.settings import Settings
from tidemill.settings.load import FILE_VARIABLE, is_override

Progress = Callable[[str, Mapping[str, Any]], None]
"""Called with the name of a process and the fields of its new State, from another thread."""


def refuse_taken_ports(
    settings: Settings, roles: Collection[str] | None = None, *, traffic: bool = False, receiver: bool = False
) -> None:
    """Raise Stop as ``Stack(...).begin`` would before its first process: for who has long work to do before that."""
    refuse_taken(embedded_stack(settings, roles, traffic=traffic, receiver=receiver), settings.local.port_base)


class Stack:
    """The processes of a deployment on this machine. One runs on a data directory at a time.

    Use as a context manager: on the way out everything is stopped. ``roles`` names the parts to run (default: all);
    ``settings_file`` is the file that ``settings`` came from (default: they are written to one under data_dir);
    ``lock`` is that of the data directory, where it is held already.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        settings_file: Path | None = None,
        roles: Collection[str] | None = None,
        traffic: bool = False,
        receiver: bool = False,
        clock: Clock | None = None,
        lock: statefile.StackLock | None = None,
    ) -> None:
        self.settings = settings
        self._clock = clock or SystemClock()
        self._lock = lock or statefile.StackLock(settings.data_dir)
        self._file = settings_file
        self._processes = embedded_stack(settings, roles, traffic=traffic, receiver=receiver)
        self._supervisor: Supervisor | None = None
        self._started_ms = 0
        self._writing = threading.Lock()

    def start(self, progress: Progress | None = None, *, within_s: float = 900.0) -> None:
        """Start everything and block until it is ready.

        Raises Stop when a stack runs here already, a port is taken, or a part does not start (then nothing is left).
        """
        self.begin(progress)
        try:
            self.wait_ready(within_s)
        except BaseException:
            self.stop()
            raise

    def begin(self, progress: Progress | None = None) -> None:
        """Start everything without waiting for it. Raises Stop as ``start`` does before the first process runs."""
        self._lock.take()
        try:
            refuse_taken(self._processes, self.settings.local.port_base)
            self._started_ms = self._clock.now_ms()
            self._supervisor = Supervisor(
                self._processes,
                self.settings.data_dir / "logs",
                environ=self._environment(),
                clock=self._clock,
                on_change=lambda state: self._changed(state, progress),
            )
        except BaseException:
            self._lock.free()
            raise
        self._supervisor.start()

    def wait_ready(self, within_s: float = 900.0) -> None:
        """Block until everything is ready. Raises Stop with the reason when it cannot be."""
        if self._supervisor is not None:
            self._supervisor.wait_ready(within_s)

    def stop(self, *, hurry: bool = False) -> None:
        """Stop everything, dependants first; blocks. ``hurry`` leaves no grace. Safe to call twice."""
        if self._supervisor is not None:
            self._supervisor.stop(hurry=hurry)
            (self.settings.data_dir / "stack.json").unlink(missing_ok=True)
        self._lock.free()

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Send a signal to one process and its children; it is started again. Its process id. Raises Stop."""
        return self._running().kill(name, number)

    def states(self) -> list[State]:
        """State of each process, in start order."""
        return self._running().states()

    def peak_rss_mb(self) -> dict[str, float]:
        """Largest resident memory seen of each process with its children, MB."""
        return self._running().peak_rss_mb()

    def __enter__(self) -> Stack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> Supervisor:
        if self._supervisor is None:
            raise RuntimeError("the stack was not started")
        return self._supervisor

    def _environment(self) -> dict[str, str]:
        """The environment of every process: the settings in force, whatever the variables of this one say."""
        file = self._file
        if file is None:
            file = self.settings.data_dir / "stack.yaml"
            write_private(file, yaml.safe_dump(self.settings.model_dump(mode="json"), sort_keys=False))
        kept = {name: value for name, value in os.environ.items() if not is_override(name)}
        return {**kept, FILE_VARIABLE: str(file.resolve())}

    def _changed(self, state: State, progress: Progress | None) -> None:
        self.write_states()
        if progress is not None:
            progress(state.name, asdict(state))

    def write_states(self) -> None:
        """Refresh the state file that ``tidemill status`` reads."""
        if self._supervisor is None:
            return
        with self._writing:
            statefile.write(
                self.settings.data_dir,
                self._supervisor.states(),
                port_base=self.settings.local.port_base,
                started_ms=self._started_ms,
                peak=self._supervisor.peak_rss_mb(),
            )
