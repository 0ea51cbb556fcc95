"""Starts work as processes of this machine that outlive the controller, and finds them again.

A try holds an exclusive lock on its folder for its whole life (the open file is handed down to it), whoever started it.
"""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from retrain.launchers import folder as places
from retrain.launchers.folder import Attempt
from retrain.launchers.launcher import LauncherAway, Work, WorkSeen
from retrain.launchers.start import written
from retrain.whole import read_object

log = logging.getLogger(__name__)


class LocalLauncher:
    """A `Launcher` of local processes."""

    def __init__(self) -> None:
        self._children: dict[Path, subprocess.Popen[bytes]] = {}

    def look(self, folder: Path, result: Path) -> WorkSeen:
        """What can be seen of the work in ``folder``; never waits for the work."""
        child = self._children.get(folder)
        if child is not None and child.poll() is not None:
            del self._children[folder]
        return seen(folder, result, running=places.is_held(folder))

    def start(self, work: Work, now_ms: int) -> None:
        """Start the work, unless it runs already or is done. Raises LauncherAway."""
        if read_object(work.result) is not None:
            return
        try:
            lock = places.taken(work.folder)
            if lock is None:
                return
            try:
                step = places.checkpoint_step(work.folder)
                written(work, Attempt(number=places.next_number(work.folder), started_ms=now_ms, step=step))
                child = _spawn(work.folder, lock)
                places.note_pid(work.folder, child.pid)
            finally:
                os.close(lock)
        except OSError as error:
            raise LauncherAway(f"{work.name} cannot be started: {error}") from error
        self._children[work.folder] = child
        log.info("%s started as process %d", work.name, child.pid, extra={"folder": str(work.folder)})

    def stop(self, folder: Path) -> None:
        """Kill the work and whatever it started; its lock falls free at once. A controller
        that was killed in the middle of a start leaves it without a number for some milliseconds: call again while
        ``look`` says that it runs.
        """
        pid = places.pid(folder)
        if pid <= 1 or not places.is_held(folder):
            return
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError) as error:
            log.warning("process group %d cannot be ended: %s", pid, error)


def seen(folder: Path, result: Path, *, running: bool) -> WorkSeen:
    """What the folder tells, given whether the work runs."""
    tries = places.attempts(folder)
    held = places.usage(folder, tries[-1].number) if tries else None
    last = tries[-1] if tries else None
    common = WorkSeen(
        state="absent",
        attempts=len(tries),
        in_vain=places.in_vain(tries, places.checkpoint_step(folder)),
        pid=places.pid(folder) if last is not None and last.launcher == "local" else 0,
        started_ms=held.begun_ms if held is not None else None,
        ran_s=held.ran_s if held is not None else None,
        ended_ms=held.ended_ms if held is not None else (last.started_ms if last is not None else None),
        gpu_seconds=places.gpu_seconds(folder, tries),
        progress=places.last_progress(folder),
    )
    if running:
        return replace(common, state="running")
    if (found := read_object(result)) is not None:
        return replace(common, state="done", result=found)
    if last is None:
        return common
    return replace(common, state="ended", last_words=places.last_words(folder))


def _spawn(folder: Path, lock: int) -> subprocess.Popen[bytes]:
    with (folder / places.LOG).open("ab") as errors:
        return subprocess.Popen(
            [sys.executable, "-m", "retrain.launchers.attend", str(folder)],
            stdin=subprocess.DEVNULL,
            stdout=errors,
            stderr=errors,
            env={**os.environ, "TIDEMILL_LOCK": str(lock)},
            pass_fds=(lock,),
            start_new_session=True,
        )
