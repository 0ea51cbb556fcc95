"""A process of the stack as data, and starting one so that it cannot be left behind."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tidemill.errors import Stop

_HERE = Path(__file__).parent
_MARK = "TIDEMILL_STACK"

Probe = Callable[[], str | None]
"""Asks a process whether it is ready: None when it is, else what it waits for. May block for a second or two."""


@dataclass(frozen=True)
class Process:
    """What to start, when it counts as ready, whom it waits for, and what happens when it ends."""

    name: str
    argv: tuple[str, ...]
    probe: Probe | None = None
    """None: ready as soon as it runs."""
    after: tuple[str, ...] = ()
    """Names that must be ready (or done) first; those not in the stack are taken to run elsewhere."""
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports it listens on, by the setting that moves each."""
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the environment of the stack."""
    cwd: Path | None = None
    before: Callable[[], object] | None = None
    """Run, and waited for, before each start: making files the process needs."""
    once: bool = False
    """A step, not a server: dependants wait until it ended with code 0; it is repeated until then."""
    nice: int = 0
    grace_s: float = 10.0
    """From SIGTERM to SIGKILL when it is stopped."""
    address: str = ""
    """Where people or clients find it; empty: nowhere."""


class Children:
    """Starts processes in groups of their own, all of which die with this process, even by SIGKILL.

    Call ``start`` from one thread that lives as long as the children: the kernel ties their life to that thread.
    """

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        mark = secrets.token_hex(8)
        self._environ = {**environ, _MARK: mark}
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_HERE / "guard.py"), f"{_MARK}={mark}"],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )

    def start(self, process: Process, log: Path) -> subprocess.Popen[bytes]:
        """Start one process; its output goes to the end of ``log``. Raises Stop when the log cannot be written."""
        launch = [sys.executable, "-I", "-S", str(_HERE / "launch.py"), str(os.getpid()), str(process.nice)]
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise Stop(f"{log}: cannot be written ({error.strerror}); move it with data_dir") from error
        try:
            started = subprocess.Popen(
                [*launch, *process.argv],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=process.cwd,
                env={**self._environ, **process.env},
                start_new_session=True,
            )
        finally:
            os.close(out)
        self._tell(f"+{started.pid}")
        return started

    def stop(self, started: subprocess.Popen[bytes], grace_s: float) -> int:
        """SIGTERM to the process, SIGKILL to what is left of its group after ``grace_s``; the exit code. Blocks."""
        started.terminate()
        try:
            started.wait(grace_s)
        except subprocess.TimeoutExpired:
            pass
        return self.reap(started)

    def reap(self, started: subprocess.Popen[bytes]) -> int:
        """Kill whatever is left of the group and collect the exit code."""
        signal_group(started.pid, signal.SIGKILL)
        code = started.wait()
        self._tell(f"-{started.pid}")
        return code

    def close(self) -> None:
        """End the guard, which kills what was not stopped."""
        if self._guard.stdin is not None and not self._guard.stdin.closed:
            self._guard.stdin.close()
        self._guard.wait()

    def _tell(self, line: str) -> None:
        if self._guard.stdin is None:
            return
        try:
            self._guard.stdin.write(line.encode() + b"\n")
            self._guard.stdin.flush()
        except BrokenPipeError:
            pass  # the guard was killed; launch.py still covers the programs themselves


def signal_group(group: int, number: int) -> bool:
    """Send a signal to a process group; whether there was one."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def python(*arguments: str) -> tuple[str, ...]:
    """The command line of this Python."""
    return (sys.executable, *arguments)
