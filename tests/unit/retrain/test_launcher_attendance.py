"""What stands over a try: its end by time, what it may hold of the machine, and its death with its work."""

from __future__ import annotations

import errno
import itertools
import os
import signal
import stat
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from retrain.launchers import attend
from retrain.launchers import folder as places
from retrain.launchers.folder import Attempt, Usage, note_attempt
from retrain.launchers.launcher import Work, WorkSeen
from retrain.launchers.lease import Gpu, NeverFree, NotNow, held, machine_memory_gb, room_for
from retrain.launchers.local import LocalLauncher
from tests.waiting import until
from tidemill.settings.launching import LauncherSettings

CARDS = [Gpu(index, f"GPU-{index}", 80.0, 70.0 - 60 * index) for index in range(2)]


def work(folder: Path, do: str, on: LauncherSettings | None = None, limit_s: float = 0) -> Work:
    module, result = "tests.unit.retrain.some_work", folder / "result.json"
    made = Work(name="some", folder=folder, module=module, spec={"do": do}, result=result, nice=1, limit_s=limit_s)
    return replace(made, heavy=True, on=on or LauncherSettings())


def seen(made: Work, state: str, launcher: LocalLauncher) -> WorkSeen:
    def look() -> WorkSeen | None:
        found = launcher.look(made.folder, made.result)
        begun = state != "running" or (found.started_ms is not None and "pid" in found.progress)
        return found if found.state == state and begun else None

    return until(look, within_s=20, what=f"the work is {state}")


def alive(pid: int) -> bool:
    """Whether it is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_work_that_takes_too_long_is_ended_and_refused_without_any_controller(tmp_path: Path) -> None:
    launcher, made = LocalLauncher(), work(tmp_path / "w", "hang", limit_s=0.6)
    launcher.start(made, 5)
    assert seen(made, "done", LocalLauncher()).result == {"refused": "it took longer than retrain.timeout_s = 0.6"}


def test_a_clock_that_is_set_meanwhile_ends_no_work_and_counts_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = work(tmp_path / "w", "finish")
    made.folder.mkdir()
    (made.folder / places.SPEC).write_text('{"do": "finish"}')
    days = itertools.count(1_800_000_000_000, 86_400_000)
    monkeypatch.setattr(attend._clock, "now_ms", lambda: next(days), raising=False)
    asked = attend.Attended(number=1, name="some", module=made.module, result=str(made.result), gpus=2, limit_s=60)
    lock = places.taken(made.folder)
    assert lock is not None
    with (made.folder / places.OUT).open("ab") as out, (made.folder / places.LOG).open("ab") as log:
        assert attend._attended(made.folder, asked, None, lock, out, log) == 0
    os.close(lock)
    held = places.usage(made.folder, 1)
    assert held is not None and held.ran_s is not None and held.ended_ms - held.begun_ms >= 86_400_000
    assert held.gpu_seconds == 2 * held.ran_s < 2 * 60
    assert Usage(begun_ms=9_000, ended_ms=1_000, gpus=2).gpu_seconds == 0, "as an older tidemill has told"


def test_the_work_dies_with_its_attendant_and_the_attendant_tells_of_its_work(tmp_path: Path) -> None:
    launcher, made = LocalLauncher(), work(tmp_path / "w", "hang")
    launcher.start(made, 5)
    first = seen(made, "running", launcher)
    os.kill(first.pid, signal.SIGKILL)
    seen(made, "ended", launcher)
    until(lambda: not alive(first.progress["pid"]), within_s=20, what="the work is gone, too")
    launcher.start(made, 6)
    os.kill(seen(made, "running", launcher).progress["pid"], signal.SIGKILL)
    last = seen(made, "ended", launcher)
    assert (last.attempts, last.in_vain, last.last_words) == (2, 2, "some was ended by signal 9 (SIGKILL)")


def test_who_holds_no_lease_sees_no_gpu(tmp_path: Path) -> None:
    launcher, made = LocalLauncher(), work(tmp_path / "w", "finish")
    launcher.start(made, 5)
    assert seen(made, "done", launcher).progress["gpus"] == ""


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"memory_gb": 900_000}, "retrain.launcher.memory_gb = 900000: this machine has "),
        ({"gpus": 16, "gpu_memory_gb": 9_000}, "retrain.launcher.gpus = 16 with 9000 GB (gpu_memory_gb): this machine"),
    ],
)
def test_what_the_machine_has_not_got_is_refused_in_words(tmp_path: Path, asked: dict[str, int], words: str) -> None:
    on = LauncherSettings(lease_dir=str(tmp_path / "leases"), **asked)  # type: ignore[arg-type]
    launcher, made = LocalLauncher(), work(tmp_path / "w", "finish", on)
    launcher.start(made, 5)
    assert words in seen(made, "done", launcher).result["refused"]


def test_a_gpu_is_leased_once_and_free_again_when_its_holder_is_gone(tmp_path: Path) -> None:
    first, second = ExitStack(), ExitStack()
    (taken,) = held(CARDS, 1, 0, tmp_path / "leases", first)
    (other,) = held(CARDS, 1, 0, tmp_path / "leases", second)
    assert {taken.uuid, other.uuid} == {"GPU-0", "GPU-1"}
    with pytest.raises(NotNow, match="1 GPUs are needed, 0 of 2 are not leased"):
        held(CARDS, 1, 0, tmp_path / "leases", ExitStack())
    first.close()
    assert held(CARDS, 1, 0, tmp_path / "leases", second) == [taken]


def test_whoever_leases_first_locks_no_other_user_out(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        with ExitStack() as leases:
            held(CARDS, 1, 0, tmp_path / "leases", leases)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "leases").stat().st_mode) == 0o1777
    assert stat.S_IMODE((tmp_path / "leases" / "GPU-0.lock").stat().st_mode) == 0o666


def test_a_lock_that_cannot_be_opened_is_waited_for_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = os.open

    def of_another_user(path: Path, flags: int, mode: int = 0o777) -> int:
        if path.name == "GPU-0.lock":
            assert not flags & os.O_CREAT, "the kernel may refuse that in a sticky folder"
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", of_another_user)
    with ExitStack() as leases:
        assert held(CARDS, 1, 0, tmp_path / "leases", leases) == CARDS[1:]
    with pytest.raises(NotNow, match=r"1 of 2 are not leased; .*/GPU-0\.lock cannot be used: Permission denied; let"):
        held(CARDS, 2, 0, tmp_path / "leases", ExitStack())
    (tmp_path / "file").write_text("")
    with pytest.raises(NotNow, match="cannot be used: Not a directory"):
        held(CARDS, 1, 0, tmp_path / "file" / "leases", ExitStack())


def test_gpus_are_leased_all_or_none(tmp_path: Path) -> None:
    with ExitStack() as one:
        held(CARDS, 1, 0, tmp_path / "leases", one)
        with pytest.raises(NotNow):
            held(CARDS, 2, 0, tmp_path / "leases", ExitStack())
    with ExitStack() as both:
        assert held(CARDS, 2, 0, tmp_path / "leases", both) == CARDS


def test_a_card_that_an_engine_fills_is_not_taken_and_one_that_is_too_small_never(tmp_path: Path) -> None:
    with ExitStack() as leases:
        assert held(CARDS, 1, 40, tmp_path / "leases", leases) == CARDS[:1]
        with pytest.raises(NotNow, match="have 40 GB free"):
            held(CARDS, 2, 40, tmp_path / "leases", ExitStack())
    with pytest.raises(NeverFree, match=r"retrain\.launcher\.gpus = 1 with 100 GB \(gpu_memory_gb\)"):
        held(CARDS, 1, 100, tmp_path / "leases", ExitStack())


def test_memory_is_the_containers_where_that_is_less(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       16000000 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\nHugePages_Total: 0\n")
    assert machine_memory_gb(meminfo, tmp_path) == (16.384, 8.192)
    (tmp_path / "memory.max").write_text("4000000000\n")
    (tmp_path / "memory.current").write_text("1000000000\n")
    assert machine_memory_gb(meminfo, tmp_path) == (4.0, 3.0)
    room_for(3.0, 4.0, 3.0, "memory")
    with pytest.raises(NotNow, match=r"3\.5 GB of memory are needed, 3\.0 of 4\.0 GB are free"):
        room_for(3.5, 4.0, 3.0, "memory")
    with pytest.raises(NeverFree, match=r"another retrain\.launcher\.kind"):
        room_for(5, 4.0, 3.0, "memory")


def test_gpu_seconds_are_counted_over_all_tries_and_progress_resets_what_was_in_vain(tmp_path: Path) -> None:
    for number, step in ((1, 0), (2, 25), (3, 25)):
        note_attempt(tmp_path, Attempt(number=number, started_ms=0, step=step))
        places.note_usage(tmp_path, number, Usage(begun_ms=1_000, ended_ms=3_500, gpus=2))
    tries = places.attempts(tmp_path)
    assert places.gpu_seconds(tmp_path, tries) == 15.0
    assert [places.in_vain(tries, step) for step in (25, 50)] == [2, 0]


def test_losses_of_steps_that_were_done_again_count_once(tmp_path: Path) -> None:
    lines = ['{"step":1,"loss":3}', '{"step":4,"loss":2.5}', '{"attempt":2}', '{"step":3,"loss":2}', '{"step":4,"lo']
    (tmp_path / places.OUT).write_text("\n".join(lines))
    assert places.losses(tmp_path) == [(1, 3.0), (3, 2.0)]
