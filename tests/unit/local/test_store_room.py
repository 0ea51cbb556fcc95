"""After a full disk the store starts again, once, as soon as there is room."""

from __future__ import annotations

import shutil
import threading
from collections import namedtuple
from pathlib import Path

import pytest

from tidemill.local.store import room
from tidemill.local.store.faults import StoreFault, database_fault
from tidemill.local.store.room import Room

Usage = namedtuple("Usage", "total used free")
MARKS = (
    "Code: 246. DB::Exception: Empty marks file '/d/data.cmrk4': 0, must be: 1400: (while reading from part /d/1_2_3/)"
)


class Again:
    """Counts the calls."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.called = threading.Event()

    def __call__(self, why: str) -> None:
        self.said.append(why)
        self.called.set()


def test_it_waits_for_room_and_asks_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = iter([0, 100, 200 << 20])
    monkeypatch.setattr(room, "_LOOK_S", 0.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, next(free)))
    again = Again()
    watch = Room(tmp_path, again)
    for _ in range(3):
        watch.was_full()
    assert again.called.wait(30)
    assert again.said == ["the disk was full, so a part may be damaged"]
    assert next(free, None) is None, "it looked until there was room"


def test_it_does_not_wait_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LATEST_S", 0.0)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, 0))
    again = Again()
    Room(tmp_path, again).was_full()
    assert again.called.wait(30)


def test_a_small_disk_has_room_sooner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LATEST_S", 1e9)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(192 << 20, 0, 10 << 20))
    again = Again()
    Room(tmp_path, again).was_full()
    assert again.called.wait(30)


@pytest.mark.parametrize(
    ("free", "refused", "ends"),
    [
        ([33 << 20, 33 << 20], False, False),
        ([31 << 20, 33 << 20], True, False),
        ([33 << 20, 31 << 20], True, True),
    ],
    ids=["room", "none before", "none after"],
)
def test_rows_are_acknowledged_only_where_there_was_room_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: list[int], refused: bool, ends: bool
) -> None:
    left = iter(free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 40, 0, next(left)))
    written = False
    try:
        with Room(tmp_path, Again()).writing():
            written = True
    except StoreFault as fault:
        assert refused and fault.full and fault.code == 243
        assert bool(fault.fatal) is ends, "rows that are half on disk end the process"
    else:
        assert not refused
    assert written is (not refused or ends)


def test_full_disks_and_unreadable_parts_are_known() -> None:
    assert database_fault("Code: 243. DB::Exception: Cannot reserve 1.00 MiB, not enough space").full
    assert database_fault("Code: 1001. DB::Exception: std: write: No space left on device").full
    assert "cannot be read" in database_fault(MARKS).fatal
    assert not database_fault("Code: 40. DB::Exception: Checksum doesn't match: corrupted data: in the request").fatal
    assert not database_fault(MARKS).full
