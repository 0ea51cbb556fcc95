"""What another terminal can know of a running stack: a lock that only a living one holds, and its states."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import msgspec

from tidemill.clock import Clock, SystemClock
from tidemill.errors import Stop
from tidemill.local.lifecycle import State


class StackFile(msgspec.Struct, frozen=True):
    """The content of ``<data_dir>/stack.json``."""

    pid: int
    port_base: int
    started_ms: int
    processes: list[State]
    peak_rss_mb: dict[str, float] = {}
    doing: str = ""
    """What is done before the first process starts; empty: nothing any more."""


class StackLock:
    """Held by the one stack that runs on a data directory; falls with its process, however that ends."""

    def __init__(self, data_dir: Path) -> None:
        self._path = data_dir / "stack.lock"
        self._file: IO[str] | None = None

    def take(self) -> None:
        """Hold the lock. Safe to call twice. Raises Stop when a stack runs on this data directory already."""
        if self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = self._path.open("a+")
        for last in (False, False, True):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if last:
                    holder = _pid(self._path)
                    file.close()
                    raise Stop(
                        f"a stack is running on {self._path.parent} already (process {holder}); see `tidemill status`, "
                        "end it with `tidemill down`, or use another data_dir and local.port_base"
                    ) from None
                threading.Event().wait(0.1)  # someone may only have looked whether it is held
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        self._file = file

    def free(self) -> None:
        """Let go. Safe to call twice."""
        if self._file is not None:
            self._file.close()
            self._file = None


def write(
    data_dir: Path,
    states: Sequence[State],
    *,
    port_base: int,
    started_ms: int,
    peak: dict[str, float] | None = None,
    doing: str = "",
) -> None:
    """Replace the state file in one step."""
    content = StackFile(os.getpid(), port_base, started_ms, list(states), peak or {}, doing)
    unfinished = data_dir / "stack.json.unfinished"
    unfinished.write_bytes(msgspec.json.encode(content))
    unfinished.replace(data_dir / "stack.json")


def running(data_dir: Path) -> int | None:
    """Process id of the stack that runs on this data directory; None when there is none."""
    lock = data_dir / "stack.lock"
    try:
        with lock.open("r+") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _pid(lock)
    return None


def demo_dir(data_dir: Path) -> Path:
    """Where ``tidemill demo`` keeps the data of its own stack, while it holds the lock of ``data_dir`` too."""
    return data_dir / "demo"


def read(data_dir: Path) -> StackFile | None:
    """States of the running stack, or of a running demo's; None when there is none (a dead one's file is none)."""
    pid = running(data_dir)
    for folder in (data_dir, demo_dir(data_dir)) if pid is not None else ():
        try:
            found = msgspec.json.decode((folder / "stack.json").read_bytes(), type=StackFile)
        except (FileNotFoundError, msgspec.ValidationError):
            continue
        if found.pid == pid:
            return found
    return None


def end(data_dir: Path, within_s: float = 90.0, clock: Clock | None = None) -> int | None:
    """Ask the running stack to stop and wait for it; its process id, or None when there was none. Raises Stop."""
    clock = clock or SystemClock()
    pid = running(data_dir)
    if pid is None:
        return None
    if pid <= 0:
        raise Stop(f"{data_dir / 'stack.lock'} is held but names no process; end that process by hand")
    os.kill(pid, signal.SIGTERM)
    until_s = clock.monotonic_s() + within_s
    pause = threading.Event()
    while running(data_dir) == pid:
        if clock.monotonic_s() > until_s:
            raise Stop(f"the stack (process {pid}) did not stop within {within_s:g} s; see {data_dir / 'logs'}")
        pause.wait(0.1)
    return pid


def _pid(lock: Path) -> int:
    try:
        return int(lock.read_text().strip() or 0)
    except (OSError, ValueError):
        return 0
