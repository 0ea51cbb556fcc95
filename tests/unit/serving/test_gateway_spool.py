"""The spool: nothing acknowledged is lost, nothing torn is read, and a full one says so."""

from __future__ import annotations

import errno
import itertools
import os
from pathlib import Path

import pytest

from serving.gateway.quarantine import SET_ASIDE
from serving.gateway.spool import Batch, Spool, SpoolFull
from tidemill.errors import Stop


def opened(folder: Path, *, limit: int = 1 << 20, segment: int = 1 << 16) -> Spool:
    numbers = itertools.count(1)
    return Spool(folder, limit, new_id=lambda: f"id{next(numbers)}-{os.urandom(2).hex()}", segment_bytes=segment)


def drained(spool: Spool) -> list[bytes]:
    found, at = [], spool.position
    while (batch := spool.read(at, 100)).position > at:
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
def test_a_torn_tail_is_set_aside_and_the_rest_goes_on(tmp_path: Path, cut: int) -> None:
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


@pytest.mark.parametrize("zeros", [False, True])
def test_whole_records_behind_a_damaged_one_go_on_after_a_restart(
    tmp_path: Path, zeros: bool, caplog: pytest.LogCaptureFixture
) -> None:
    words = [word * 30 for word in (b"first", b"second", b"third", b"fourth", b"fifth")]
    spool = opened(tmp_path)
    for word in words:
        spool.append([word])
    spool.close()
    (file,) = (f for f in tmp_path.glob("*.seg") if f.stat().st_size)
    data = bytearray(file.read_bytes())
    start, end = data.index(words[1]) - 8, data.index(words[3])  # the second's length up to the fourth's text
    data[start : end - 8] = bytes(end - 8 - start) if zeros else b"\xff" * (end - 8 - start)
    file.write_bytes(data)
    counted = SET_ASIDE._value.get()
    spool = opened(tmp_path)
    assert spool.pending_records == 3
    assert drained(spool) == drained(spool) == [words[0], *words[3:]]
    assert SET_ASIDE._value.get() == counted + 1
    assert f"{end - 8 - start} bytes of the spool are set aside" in caplog.text


def test_two_equal_damaged_pieces_are_both_told(tmp_path: Path) -> None:
    spool = opened(tmp_path, segment=10)
    for word in (b"one", b"two"):
        spool.append([word])
    spool.close()
    for file in tmp_path.glob("*.seg"):
        file.write_bytes(bytes(file.stat().st_size))
    assert drained(opened(tmp_path, segment=10)) == []
    assert len(list((tmp_path / "quarantine").glob("*.bin"))) == 2


def test_what_kafka_has_is_skipped_but_not_the_damage_behind_it(tmp_path: Path) -> None:
    spool = opened(tmp_path)
    spool.append([b"in Kafka"])
    in_kafka = spool.end
    spool.append([b"not yet in Kafka"])
    spool.close()
    (file,) = (f for f in tmp_path.glob("*.seg") if f.stat().st_size)
    file.write_bytes(bytes(file.stat().st_size))
    spool = opened(tmp_path)
    spool.skip_to(in_kafka)
    assert spool.position == in_kafka
    assert drained(spool) == []
    (kept,) = (tmp_path / "quarantine").glob("*.bin")
    assert kept.stat().st_size == spool.end - in_kafka


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


@pytest.mark.parametrize("before", [0, 2])
def test_on_a_full_disk_it_opens_refuses_and_goes_on_once_there_is_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    wanted = [f"event {i}".encode() for i in range(before)]
    if before:
        spool = opened(tmp_path)
        spool.append(wanted)
        spool.close()
    full, real_open = OSError(errno.ENOSPC, "No space left on device"), os.open

    def no_new_file(path: Path, flags: int, mode: int = 0o777) -> int:
        if path.suffix == ".seg" and not path.exists():
            raise full
        return real_open(path, flags, mode)

    def no_write(*_: object) -> int:
        raise full

    monkeypatch.setattr(os, "open", no_new_file)
    monkeypatch.setattr(Path, "write_bytes", no_write)
    spool = opened(tmp_path)
    for _ in range(2):
        with pytest.raises(SpoolFull, match="free disk space"):
            spool.append([b"refused"])
    assert drained(spool) == wanted, "what is there can be drained"
    spool.release(spool.end, before)
    assert len(list(tmp_path.glob("*.seg"))) == min(before, 1), "a file stays to say where the spool ends"
    monkeypatch.undo()
    spool.append([b"taken"])
    assert drained(spool) == [b"taken"]
    name = spool.id
    spool.close()
    again = opened(tmp_path)
    assert again.id == name
    assert drained(again) == [b"taken"]


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
    data[data.index(b"third")] ^= 1
    file.write_bytes(data)
    found = spool.read(spool.position)
    assert found.payloads == [b"first", b"second"]
    after = spool.read(found.position)
    assert after == Batch([], spool.end)
    spool.append([b"later"])
    assert spool.read(after.position).payloads == [b"later"]
    (kept,) = (tmp_path / "quarantine").glob("*.bin")
    assert b"uhird" in kept.read_bytes()
    spool.release(spool.end, 3)
    assert (spool.pending_records, spool.pending_bytes) == (0, 0), "the damaged record is not waited for"
