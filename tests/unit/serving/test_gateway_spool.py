"""The spool: nothing acknowledged is lost, nothing torn is read, and a full one says so."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from serving.gateway.spool import Batch, Spool, SpoolFull
from tidemill.errors import Stop


def opened(folder: Path, *, limit: int = 1 << 20, segment: int = 1 << 16) -> Spool:
    numbers = itertools.count(1)
    return Spool(folder, limit, new_id=lambda: f"id{next(numbers)}-{os.urandom(2).hex()}", segment_bytes=segment)


def drained(spool: Spool) -> list[bytes]:
    found, at = [], spool.position
    while (batch := spool.read(at, 100)).payloads:
        found += batch.payloads
        at = batch.position
    return found


def test_what_was_appended_is_read_in_order_across_segments_and_restarts(tmp_path: Path) -> None:
    wanted = [f"event {i}".encode() * 7 for i in range(50)]
    spool = opened(tmp_path, segment=200)
    for payload in wanted[:30]:
        spool.append([payload])
    spool.close()
    spool = opened(tmp_path, segment=200)
    assert spool.pending_records == 30
    spool.append(wanted[30:])
    assert drained(spool) == wanted
    assert len(list(tmp_path.glob("*.seg"))) > 3


def test_released_records_are_gone_and_stay_gone(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment=50)
    for i in range(10):
        spool.append([f"payload number {i}".encode()])
    batch = spool.read(spool.position, 60)
    spool.release(batch.position, len(batch.payloads))
    assert spool.pending_records == 10 - len(batch.payloads)
    rest = drained(spool)
    name = spool.id
    spool.close()
    spool = opened(tmp_path, segment=50)
    assert spool.id == name
    assert drained(spool) == rest == [f"payload number {i}".encode() for i in range(len(batch.payloads), 10)]
    end = spool.read(spool.position, 1 << 20)
    while (more := spool.read(end.position)).payloads:
        end = more
    spool.release(end.position, spool.pending_records)
    spool.append([b"next"])
    assert drained(spool) == [b"next"]
    assert len(list(tmp_path.glob("*.seg"))) == 1


@pytest.mark.parametrize("cut", range(1, 14))
def test_a_torn_tail_is_dropped_and_the_rest_kept(tmp_path: Path, cut: int) -> None:
    spool = opened(tmp_path)
    spool.append([b"whole"])
    spool.append([b"torn!"])
    spool.close()
    (file,) = (f for f in tmp_path.glob("*.seg") if f.stat().st_size)
    os.truncate(file, file.stat().st_size - cut)
    spool = opened(tmp_path)
    assert drained(spool) == [b"whole"]
    spool.append([b"after"])
    assert drained(spool) == [b"whole", b"after"]


def test_a_damaged_record_is_cut_off_with_what_follows_kept_aside(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment=40)
    for word in (b"first" * 3, b"second" * 3, b"third" * 3):
        spool.append([word])
    spool.close()
    files = sorted(tmp_path.glob("*.seg"))
    data = bytearray(files[0].read_bytes())
    data[-1] ^= 1
    files[0].write_bytes(data)
    spool = opened(tmp_path, segment=40)
    assert b"third" * 3 in drained(spool)
    assert list(tmp_path.glob("*.torn"))


def test_a_full_disk_appends_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = opened(tmp_path)
    spool.append([b"before"])
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[:5]))
    with pytest.raises(SpoolFull, match="disk space"):
        spool.append([b"does not fit"])
    monkeypatch.undo()
    spool.append([b"again"])
    assert drained(spool) == [b"before", b"again"]
    spool.close()
    assert drained(opened(tmp_path)) == [b"before", b"again"]


def test_it_has_no_room_past_its_limit_until_something_is_released(tmp_path: Path) -> None:
    spool = opened(tmp_path, limit=100)
    rooms = [spool.has_room]
    spool.append([b"x" * 120])
    rooms.append(spool.has_room)
    batch = spool.read(spool.position)
    spool.release(batch.position, 1)
    assert [*rooms, spool.has_room] == [True, False, True]


def test_one_folder_has_one_gateway(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    with pytest.raises(Stop, match="data_dir"):
        opened(tmp_path)
    spool.close()
    opened(tmp_path)


def test_what_kafka_has_already_is_skipped(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([b"one", b"two"])
    after_one = spool.read(spool.position, 1).position
    spool.append([b"three"])
    spool.skip_to(after_one)
    assert drained(spool) == [b"two", b"three"]
    spool.skip_to(-1001)
    assert drained(spool) == [b"two", b"three"]


def test_a_spool_that_lost_its_files_starts_under_a_new_id(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([b"x" * 100])
    spool.release(spool.end, 1)
    old = spool.id
    spool.close()
    for file in tmp_path.glob("*.seg"):
        os.truncate(file, 0)
    spool = opened(tmp_path)
    assert spool.id != old
    spool.append([b"fresh"])
    assert drained(spool) == [b"fresh"]


@pytest.mark.parametrize("zeros", [1, 8, 9, 4096])
def test_zeros_that_a_power_cut_left_are_no_records(tmp_path: Path, zeros: int) -> None:
    spool = opened(tmp_path)
    spool.append([b"whole"])
    spool.close()
    (file,) = (f for f in tmp_path.glob("*.seg") if f.stat().st_size)
    file.write_bytes(file.read_bytes() + bytes(zeros))
    spool = opened(tmp_path)
    assert spool.pending_records == 1
    spool.append([b"after"])
    assert drained(spool) == [b"whole", b"after"]


def test_damage_while_it_is_open_is_set_aside_and_what_follows_goes_on(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    for word in (b"first", b"second", b"third"):
        spool.append([word])
    (file,) = tmp_path.glob("*.seg")
    data = bytearray(file.read_bytes())
    damaged = data[13:]
    damaged[8] ^= 1
    file.write_bytes(data[:13] + damaged)
    spool.append([b"before anybody looked"])
    found = spool.read(spool.position)
    assert found.payloads == [b"first"]
    after = spool.read(found.position)
    assert after == Batch([], spool.end)
    spool.append([b"later"])
    assert spool.read(after.position).payloads == [b"later"]
    (kept,) = (tmp_path / "quarantine").glob("*.bin")
    assert b"third" in kept.read_bytes() and b"before anybody looked" in kept.read_bytes()
    spool.release(spool.end, 2)
    assert (spool.pending_records, spool.pending_bytes) == (0, 0), "the damaged records are not waited for"
