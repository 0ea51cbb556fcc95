"""Real processes: never twice, never forgotten, whoever looks."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from retrain.launchers.launcher import Launcher, Work, WorkSeen
from retrain.launchers.local import LocalLauncher
from tests.waiting import until


def work(folder: Path, do: str) -> Work:
    module = "tests.unit.retrain.some_work"
    return Work(name="some", folder=folder, module=module, spec={"do": do}, result=folder / "result.json", nice=7)


def wait_for(launcher: Launcher, made: Work, state: str) -> WorkSeen:
    def seen() -> WorkSeen | None:
        found = launcher.look(made.folder, made.result)
        return found if found.state == state and (state != "running" or found.progress) else None

    return until(seen, within_s=20, what=f"the work is {state}")


def test_done(tmp_path: Path) -> None:
    launcher, made = LocalLauncher(), work(tmp_path / "w", "finish")
    assert launcher.look(made.folder, made.result).state == "absent"
    launcher.start(made, 5)
    seen = wait_for(launcher, made, "done")
    assert (seen.result, seen.attempts, seen.gpu_seconds) == ({"fine": True}, 1, 0.0)
    assert seen.started_ms is not None and seen.ended_ms is not None and seen.ended_ms >= seen.started_ms
    assert (seen.progress["nice"], seen.progress["threads"]) == (min(19, os.nice(0) + 7), "1")
    launcher.start(made, 6)
    assert launcher.look(made.folder, made.result).attempts == 1


def test_another_controller_finds_it_running_and_cannot_start_it_twice(tmp_path: Path) -> None:
    first, second, made = LocalLauncher(), LocalLauncher(), work(tmp_path / "w", "hang")
    first.start(made, 5)
    try:
        pid = wait_for(second, made, "running").pid
        second.start(made, 6)
        assert second.look(made.folder, made.result).attempts == 1
    finally:
        second.stop(made.folder)
    assert wait_for(second, made, "ended").attempts == 1
    second.start(made, 7)
    assert wait_for(second, made, "running").pid != pid
    second.stop(made.folder)
    assert wait_for(first, made, "ended").attempts == 2


def test_a_crash_leaves_its_last_words(tmp_path: Path) -> None:
    launcher, made = LocalLauncher(), work(tmp_path / "w", "crash")
    launcher.start(made, 5)
    assert wait_for(launcher, made, "ended").last_words == "it broke"


def test_a_killed_process_is_seen_as_ended(tmp_path: Path) -> None:
    launcher, made = LocalLauncher(), work(tmp_path / "w", "hang")
    launcher.start(made, 5)
    os.kill(wait_for(launcher, made, "running").pid, signal.SIGKILL)
    assert wait_for(launcher, made, "ended").attempts == 1


@pytest.mark.parametrize("content", ["", "not a number"])
def test_stop_without_a_process_does_nothing(tmp_path: Path, content: str) -> None:
    (tmp_path / "pid").write_text(content)
    LocalLauncher().stop(tmp_path)


def test_a_result_that_cannot_be_read_is_none_and_the_work_is_done_again(tmp_path: Path) -> None:
    launcher, made = LocalLauncher(), work(tmp_path / "w", "finish")
    made.folder.mkdir()
    made.result.write_bytes(b'{"fine": tr')
    launcher.start(made, 5)
    assert wait_for(launcher, made, "done").result == {"fine": True}
