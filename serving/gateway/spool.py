"""The gateway's local file of finished events: appended before the last byte goes out, drained to Kafka after.

Layout: ``<first position>.seg`` files of records ``length · CRC-32 · payload``; a position counts bytes since the
spool was made, so it names one place for ever. ``spool.json`` holds the spool's id and the position below which
everything is in Kafka (a hint: Kafka's own record of it decides, see drain.py).

One write() per append, handed to the operating system: it survives SIGKILL of the process. It is not fsynced, so a
power cut may lose the last moments; a spool that then ends below its position starts anew under a new id. What cannot
be read (a power cut may leave torn records and zeros) is set aside in the folder ``quarantine``, counted and said; it
holds up nothing, and the whole records behind it go on.
On a full disk it opens too, and refuses appends until there is space. Append from one thread; read and release from one
other.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import struct
import threading
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from serving.gateway.quarantine import set_aside
from tidemill.errors import Retry, Stop

log = logging.getLogger(__name__)
_HEAD = struct.Struct(">II")
_FIRST_BYTE = 0
"""Of every record: its length is below 16 MiB (see drain.limit)."""
SEGMENT_BYTES = 16 * 1024 * 1024


class SpoolFull(Retry):
    """There is no room for another event: refuse the call."""


class _Kept(msgspec.Struct):
    id: str
    position: int


class Batch(NamedTuple):
    """Payloads in the order of their appends, and the position after the last one."""

    payloads: list[bytes]
    position: int


class Spool:
    """See the module. Raises Stop when another process holds the folder."""

    def __init__(
        self, folder: Path, limit_bytes: int, *, new_id: Callable[[], str], segment_bytes: int = SEGMENT_BYTES
    ) -> None:
        self._folder, self._limit, self._segment_bytes = folder, limit_bytes, min(segment_bytes, limit_bytes)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock_file = _lock(folder)
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        kept = self._read_kept() or _Kept(id=new_id(), position=0)
        self._segments: dict[int, int] = {}
        for file in sorted(folder.glob("*.seg")):
            start = int(file.stem)
            self._segments[start] = start + file.stat().st_size
        self.end = max(self._segments.values(), default=kept.position)
        if kept.position > self.end:
            log.error("the spool ends at %d, below its position %d: starting anew", self.end, kept.position)
            self._drop(list(self._segments))
            (folder / "spool.json").unlink()
            kept, self.end = _Kept(id=new_id(), position=0), 0
        self.id, self.position, self.recovered_end = kept.id, kept.position, self.end
        self._active_start, self._fd = -1, -1
        self._appended, self._released = self._count_pending(), 0
        try:
            self._begin()
        except SpoolFull as error:
            log.error("no call is taken on until there is space: %s", error)

    @property
    def pending_records(self) -> int:
        """Records appended and not yet known to be in Kafka."""
        return self._appended - self._released

    @property
    def pending_bytes(self) -> int:
        """Their size on disk."""
        return self.end - self.position

    @property
    def has_room(self) -> bool:
        """Whether new calls may be taken on; those under way may still append."""
        return self.pending_bytes < self._limit

    def append(self, payloads: Sequence[bytes]) -> None:
        """All payloads in one write. Raises SpoolFull, with nothing appended, when the disk takes no more."""
        data = b"".join(_HEAD.pack(len(payload), zlib.crc32(payload)) + payload for payload in payloads)
        if self._fd < 0:
            self._begin()
        elif self.end - self._active_start >= self._segment_bytes:
            self._rotate()
        written, cause = 0, None
        try:
            written = os.write(self._fd, data)
        except OSError as error:
            cause = error
        if written != len(data):
            os.ftruncate(self._fd, self.end - self._active_start)
            reason = cause.strerror if cause else os.strerror(errno.ENOSPC)
            raise SpoolFull(f"{self._folder}: no event can be written ({reason}); free disk space") from cause
        with self._lock:
            self.end += len(data)
            self._segments[self._active_start] = self.end
            self._appended += len(payloads)
        self._arrived.set()

    def wait(self, timeout_s: float) -> None:
        """Block until something was appended since the last read, at most ``timeout_s``."""
        self._arrived.wait(timeout_s)

    def read(self, position: int, max_bytes: int = 1_048_576) -> Batch:
        """Whole records from ``position`` on: as many as fit ``max_bytes``, at least one if there is one.

        A damaged piece is set aside, up to the next whole record of its segment. No payloads and a position further on
        mean that only such a piece was there. Raises OSError where the disk has no room for it.
        """
        self._arrived.clear()
        batch, damaged = self._look(position, max_bytes)
        if damaged:
            set_aside(self._folder, damaged, f"the spool is damaged at {batch.position - len(damaged)}")
        return batch

    def set_aside(self, data: bytes, reason: str) -> None:
        """Keep a record that cannot go out in the folder ``quarantine``. Safe to repeat."""
        set_aside(self._folder, data, reason)

    def release(self, position: int, records: int) -> None:
        """Everything below ``position`` (``records`` more than before) is in Kafka: forget it."""
        with self._lock:
            self.position = position
            # at the end nothing is pending, however many records a damaged piece held
            self._released = self._appended if position >= self.end else self._released + records
            newest = max(self._segments, default=position)  # kept: its name says where the spool ends
            gone = [start for start, end in self._segments.items() if end <= position and start != newest]
            for start in gone:
                del self._segments[start]
        self._drop(gone)
        try:
            self._save()
        except OSError as error:  # only the hint: Kafka holds the position too
            log.warning("spool.json cannot be written: %s", error)

    def skip_to(self, position: int) -> None:
        """Kafka says that everything below ``position`` is there already (a crash came before the note of it)."""
        records, at = 0, self.position
        while at < position and (batch := self._look(at, min(position - at, 1 << 20))[0]).position > at:
            records, at = records + len(batch.payloads), batch.position
        if position > self.position:  # not ``at``: a damaged piece may reach beyond what Kafka has
            self.release(position, records)

    def close(self) -> None:
        """Give the folder free for another process."""
        if self._fd >= 0:
            os.close(self._fd)
        os.close(self._lock_file)

    def _begin(self) -> None:
        """Note the spool's id, then open a segment: no record may be there without its id. Raises SpoolFull."""
        try:
            self._save()
        except OSError as error:
            raise SpoolFull(f"{self._folder}: its id cannot be kept ({error.strerror}); free disk space") from error
        self._rotate()

    def _rotate(self) -> None:
        try:
            fd = os.open(self._folder / _name(self.end), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        except OSError as error:
            raise SpoolFull(f"{self._folder}: no new segment ({error.strerror}); free disk space") from error
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._active_start = fd, self.end
        with self._lock:
            self._segments.setdefault(self.end, self.end)

    def _count_pending(self) -> int:
        count, at = 0, self.position
        while (batch := self._look(at)[0]).position > at:
            count, at = count + len(batch.payloads), batch.position
        return count

    def _look(self, position: int, max_bytes: int = 1_048_576) -> tuple[Batch, bytes]:
        """What ``read`` gives back, and the damaged piece that it passes over."""
        with self._lock:
            found = sorted((start, end) for start, end in self._segments.items() if end > position)
        if not found:
            return Batch([], position), b""
        start, end = found[0]
        position = max(position, start)  # a segment that is gone leaves a gap before the next
        with open(self._folder / _name(start), "rb") as file:
            file.seek(position - start)
            data = file.read(min(end - position, max(max_bytes, _HEAD.size)))
            if len(data) >= _HEAD.size and (need := _HEAD.size + _HEAD.unpack_from(data)[0]) > len(data):
                data += file.read(min(need, end - position) - len(data))
            payloads, used = _records(data)
            if payloads:
                return Batch(payloads, position + used), b""
            data += file.read(end - position - len(data))
        damaged = data[: _next_record(data)]
        return Batch([], position + len(damaged)), damaged

    def _drop(self, starts: list[int]) -> None:
        for start in starts:
            (self._folder / _name(start)).unlink(missing_ok=True)
            self._segments.pop(start, None)

    def _read_kept(self) -> _Kept | None:
        try:
            return msgspec.json.decode((self._folder / "spool.json").read_bytes(), type=_Kept)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise Stop(f"{self._folder / 'spool.json'}: damaged ({error}); move the spool folder away") from error

    def _save(self) -> None:
        fresh = self._folder / "spool.json.new"
        fresh.write_bytes(msgspec.json.encode(_Kept(id=self.id, position=self.position)))
        fresh.replace(self._folder / "spool.json")


def _name(start: int) -> str:
    return f"{start:020d}.seg"


def _lock(folder: Path) -> int:
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(handle)
        raise Stop(f"{folder}: another gateway writes here; give this one a data_dir of its own") from error
    return handle


def _records(data: bytes) -> tuple[list[bytes], int]:
    """The whole, undamaged records at the start of ``data``, and how many bytes they take."""
    payloads: list[bytes] = []
    at = 0
    while at + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length]
        if length == 0:
            break  # no record is empty; these are zeros where a power cut took the data
        if len(payload) != length or zlib.crc32(payload) != checksum:
            break
        payloads.append(payload)
        at += _HEAD.size + length
    return payloads, at


def _next_record(data: bytes) -> int:
    """Where the first whole record behind a damaged one begins; the end of ``data`` if none does."""
    at = 0
    while (at := data.find(_FIRST_BYTE, at + 1)) >= 0 and at + _HEAD.size < len(data):
        length, checksum = _HEAD.unpack_from(data, at)
        payload = data[at + _HEAD.size : at + _HEAD.size + length] if length <= len(data) - at - _HEAD.size else b""
        if payload and zlib.crc32(payload) == checksum:
            return at
    return len(data)
