"""The demo's own folder: empty at the beginning, and nobody starts a stack beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.local.test_statefile import STATES
from tidemill.errors import Stop
from tidemill.local import statefile
from tidemill.local.demo.folder import own_folder


def test_it_is_emptied_and_what_is_beside_it_stays(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    for learned in ("first", "second"):
        with own_folder(tmp_path) as folder:
            assert list(folder.iterdir()) == []
            (folder / "adapters").mkdir()
            (folder / "adapters" / learned).symlink_to(tmp_path / "store", target_is_directory=True)
        assert (folder / "adapters" / learned).exists(), "to look at afterwards"
    assert (tmp_path / "store").is_dir()


def test_no_stack_starts_beside_it_and_none_is_beside_it(tmp_path: Path) -> None:
    with own_folder(tmp_path), pytest.raises(Stop, match="already"):
        statefile.StackLock(tmp_path).take()
    lock = statefile.StackLock(tmp_path)
    lock.take()
    with pytest.raises(Stop, match="already"), own_folder(tmp_path):
        pass
    lock.free()


def test_another_terminal_sees_its_processes(tmp_path: Path) -> None:
    with own_folder(tmp_path) as folder:
        assert statefile.read(tmp_path) is None
        statefile.write(folder, STATES, port_base=18000, started_ms=5, peak={})
        found = statefile.read(tmp_path)
        assert found is not None and (found.pid, found.processes) == (os.getpid(), STATES)
    assert statefile.read(tmp_path) is None
