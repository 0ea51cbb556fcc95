"""Starts work as local processes that outlive the controller, and finds them again.

Twice at once is impossible: a process holds an exclusive lock on its folder's ``lock`` for its whole life (the open
file is handed down to it), whoever started it. Forgotten is impossible: what was started is on disk, so is its result.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec

from retrain.work import write_json
from tidemill.errors import Retry

log = logging.getLogger(__name__)
_TAIL_BYTES = 65_536
_START = (
    'echo $$ > "$0.part" && mv "$0.part" "$0" && n=$1 && shift && '
    '{ echo $((n < 10 ? n : 10)) > /proc/self/autogroup; } 2>/dev/null; exec nice -n "$n" "$@"'
)
"""Writes the process id, then becomes the work. Where the kernel schedules sessions as groups (autogroup), niceness
counts within a group only, so the work's own group stands back as well."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """One piece of work: a module, its spec, and where both live."""

    name: str
    folder: Path
    module: str
    spec: dict[str, Any]
    result: Path
    """The file whose being there means done."""
    nice: int = 10
    threads: int = 1


@dataclass(frozen=True, kw_only=True)
class WorkSeen:
    """What can be seen of a piece of work now.

    ``ended`` means: it was started, is not running, and left no result.
    """

    state: Literal["absent", "running", "done", "ended"]
    attempts: int = 0
    pid: int = 0
    started_ms: int | None = None
    result: dict[str, Any] = field(default_factory=dict)
    progress: dict[str, Any] = field(default_factory=dict)
    """The latest progress line."""
    last_words: str = ""


class Launcher:
    """Starts, watches and ends work on this machine. Not safe to share between threads."""

    def __init__(self) -> None:
        self._children: dict[Path, subprocess.Popen[bytes]] = {}

    def look(self, folder: Path, result: Path) -> WorkSeen:
        """What can be seen of the work in ``folder``; never blocks on the work."""
        child = self._children.get(folder)
        if child is not None and child.poll() is not None:
            del self._children[folder]
        attempts = _lines(folder / "attempts.jsonl")
        started: dict[str, Any] = {
            "attempts": len(attempts),
            "pid": _pid(folder),
            "started_ms": attempts[-1].get("started_ms") if attempts else None,
            "progress": _last_line(folder / "stdout.jsonl"),
        }
        if _is_held(folder / "lock"):
            return WorkSeen(state="running", **started)
        if (found := _json(result)) is not None:
            return WorkSeen(state="done", result=found, **started)
        if not attempts:
            return WorkSeen(state="absent")
        return WorkSeen(state="ended", last_words=_last_words(folder / "log.txt"), **started)

    def start(self, work: Work, now_ms: int) -> int:
        """Start the work; give back its process id, or 0 when it runs already or is done. Raises Retry.

        A result that cannot be read is none (as for ``look``): the work is done again.
        """
        if _json(work.result) is not None:
            return 0
        try:
            lock = _taken(work.folder)
        except OSError as error:
            raise Retry(f"{work.name} cannot be started: {error}") from error
        if lock is None:
            return 0
        try:
            work.result.unlink(missing_ok=True)
            write_json(work.folder / "spec.json", work.spec)
            _append(work.folder / "attempts.jsonl", {"started_ms": now_ms})
            (work.folder / "pid").unlink(missing_ok=True)
            (work.folder / "stdout.jsonl").unlink(missing_ok=True)
            child = _spawn(work, lock)
        except OSError as error:
            raise Retry(f"{work.name} cannot be started: {error}") from error
        finally:
            os.close(lock)
        self._children[work.folder] = child
        log.info("%s started as process %d", work.name, child.pid, extra={"folder": str(work.folder)})
        return child.pid

    def stop(self, folder: Path) -> None:
        """Kill the work and whatever it started; does nothing where none runs. Its lock falls free at once."""
        pid = _pid(folder)
        if pid <= 1 or not _is_held(folder / "lock"):
            return
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError) as error:
            log.warning("process group %d cannot be ended: %s", pid, error)


def progress_lines(folder: Path) -> list[dict[str, Any]]:
    """Every progress line of the work's last attempt (the loss curve of a training)."""
    return _lines(folder / "stdout.jsonl")


def _spawn(work: Work, lock: int) -> subprocess.Popen[bytes]:
    command: Sequence[str] = (sys.executable, "-m", work.module, "--spec", str(work.folder / "spec.json"))
    environment = {**os.environ, "OMP_NUM_THREADS": str(work.threads), "PYTHONUNBUFFERED": "1"}
    with (work.folder / "stdout.jsonl").open("wb") as out, (work.folder / "log.txt").open("ab") as errors:
        return subprocess.Popen(
            ["/bin/sh", "-c", _START, str(work.folder / "pid"), str(work.nice), *command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=errors,
            env=environment,
            pass_fds=(lock,),
            start_new_session=True,
        )


def _taken(folder: Path) -> int | None:
    """The folder's lock, held by us; None when somebody holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _is_held(lock: Path) -> bool:
    try:
        handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _pid(folder: Path) -> int:
    try:
        return int((folder / "pid").read_text())
    except (OSError, ValueError):
        return 0


def _json(file: Path) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(file.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None
    return found if isinstance(found, dict) else None


def _append(file: Path, value: dict[str, Any]) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write(json.dumps(value) + "\n")


def _lines(file: Path) -> list[dict[str, Any]]:
    try:
        lines = file.read_bytes().splitlines()
    except OSError:
        return []
    return [found for line in lines if (found := _decoded(line)) is not None]


def _last_line(file: Path) -> dict[str, Any]:
    for line in reversed(_tail(file).splitlines()):
        if (found := _decoded(line)) is not None:
            return found
    return {}


def _decoded(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None


def _last_words(file: Path) -> str:
    lines = [line.strip() for line in _tail(file).decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def _tail(file: Path) -> bytes:
    try:
        with file.open("rb") as source:
            source.seek(0, os.SEEK_END)
            source.seek(max(0, source.tell() - _TAIL_BYTES))
            return source.read()
    except OSError:
        return b""
