"""What another terminal sees of a running stack."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tidemill.errors import Stop
from tidemill.local import statefile
from tidemill.local.demo.place import telling
from tidemill.local.lifecycle import State
from tidemill.settings import Settings

STATES = [State("kafka", "ready", pid=7, restarts=1, address="127.0.0.1:1"), State("init", "done")]


def test_states_are_read_while_the_lock_is_held(tmp_path: Path) -> None:
    lock = statefile.StackLock(tmp_path)
    lock.take()
    statefile.write(tmp_path, STATES, port_base=18000, started_ms=5, peak={"kafka": 400.0})
    assert statefile.running(tmp_path) == os.getpid()
    found = statefile.read(tmp_path)
    assert found is not None
    assert (found.pid, found.processes, found.peak_rss_mb) == (os.getpid(), STATES, {"kafka": 400.0})
    lock.free()


def test_what_is_done_before_the_first_process_is_seen_too(tmp_path: Path) -> None:
    lock = statefile.StackLock(tmp_path)
    lock.take()
    lock.take()
    told: list[object] = []
    settings = Settings(data_dir=tmp_path)
    tell = telling(settings, 5, lambda *facts: told.append(facts))
    tell("schedule", {"step": 100, "of": 450})
    found = statefile.read(tmp_path)
    assert found is not None and found.processes == []
    assert found.doing == "making the demo's models: schedule (step 100 of 450)"
    assert told == [("schedule", {"step": 100, "of": 450})]
    lock.free()
    assert statefile.read(tmp_path) is None


def test_a_file_left_behind_does_not_count(tmp_path: Path) -> None:
    lock = statefile.StackLock(tmp_path)
    lock.take()
    statefile.write(tmp_path, STATES, port_base=18000, started_ms=5, peak={})
    lock.free()
    lock.free()
    assert statefile.running(tmp_path) is None
    assert statefile.read(tmp_path) is None
    assert statefile.end(tmp_path) is None


def test_no_data_dir_means_no_stack(tmp_path: Path) -> None:
    assert statefile.running(tmp_path / "none") is None


def test_a_second_stack_is_refused(tmp_path: Path) -> None:
    lock = statefile.StackLock(tmp_path)
    lock.take()
    with pytest.raises(Stop, match=rf"running on .* already \(process {os.getpid()}\); see `tidemill status`"):
        statefile.StackLock(tmp_path).take()
    lock.free()
    again = statefile.StackLock(tmp_path)
    again.take()
    again.free()


def test_a_lock_without_a_name_is_not_signalled(tmp_path: Path) -> None:
    lock = statefile.StackLock(tmp_path)
    lock.take()
    (tmp_path / "stack.lock").write_text("")
    with pytest.raises(Stop, match="names no process"):
        statefile.end(tmp_path)
    lock.free()
