"""The folder of one piece of work, as launchers read and write it.

spec.json             what is to be done
attempts.jsonl        one line a try, before it starts: number, launcher, the step it begins at
attempt.json          how the last try is to be attended (``retrain.launchers.attend``)
usage-<number>.json   begun, last sign of life, GPUs held: one file a try, renewed each second
stdout.jsonl          progress lines of all tries
log.txt               logs of all tries, and what a cluster said of them
pid, lock             the process group, and the lock it holds while it lasts
checkpoint.safetensors  where a training goes on
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from retrain.whole import decoded

SPEC, ATTEMPTS, ATTEMPT = "spec.json", "attempts.jsonl", "attempt.json"
OUT, LOG, PID, LOCK = "stdout.jsonl", "log.txt", "pid", "lock"
CHECKPOINT = "checkpoint.safetensors"
STEP = "step"
"""Key of a checkpoint's metadata: steps done."""
_TAIL_BYTES = 65_536
_MOST_HEADER = 16_777_216


class Attempt(Struct, frozen=True, kw_only=True):
    """One try, as written down before it starts."""

    number: int
    started_ms: int
    launcher: str = "local"
    at: str = ""
    """Where the cluster is: Ray's address, or the namespace."""
    name: str = ""
    """What the cluster calls it; the same name never runs twice."""
    step: int = 0
    """Steps that the checkpoint had when it started."""
    over: str = ""
    """Why it is over, once a cluster has said so; a second line of the same number."""


class Usage(Struct, frozen=True, kw_only=True):
    """What one try held, and how long."""

    begun_ms: int
    ended_ms: int
    gpus: int = 0
    ran_s: float | None = None
    """Seconds in between by a clock that nobody sets; None: not told (by an older tidemill)."""

    @property
    def gpu_seconds(self) -> float:
        """GPUs held times seconds."""
        by_wall = max(0, self.ended_ms - self.begun_ms) / 1000
        return self.gpus * (by_wall if self.ran_s is None else self.ran_s)


def attempts(folder: Path) -> list[Attempt]:
    """The tries so far, in order; of two lines with one number the later one."""
    found: dict[int, Attempt] = {}
    for line in _raw_lines(folder / ATTEMPTS):
        try:
            attempt = msgspec.json.decode(line, type=Attempt)
        except msgspec.DecodeError:
            continue  # cut off by a full disk
        found[attempt.number] = attempt
    return [found[number] for number in sorted(found)]


def next_number(folder: Path) -> int:
    """The number of the next try, from 1 on."""
    tries = attempts(folder)
    return tries[-1].number + 1 if tries else 1


def note_attempt(folder: Path, attempt: Attempt) -> None:
    """Write a try down, to the disk, before it starts."""
    with (folder / ATTEMPTS).open("ab") as out:
        out.write(b"\n" if _is_cut_off(folder / ATTEMPTS) else b"")
        out.write(msgspec.json.encode(attempt) + b"\n")
        out.flush()
        os.fsync(out.fileno())


def in_vain(tries: list[Attempt], step: int) -> int:
    """Tries in a row that began at the step where the work still stands."""
    count = 0
    for attempt in reversed(tries):
        if attempt.step != step:
            break
        count += 1
    return count


def usage_file(folder: Path, number: int) -> Path:
    """Where a try says what it holds."""
    return folder / f"usage-{number}.json"


def usage(folder: Path, number: int) -> Usage | None:
    """What a try held; None when it never began."""
    try:
        return msgspec.json.decode(usage_file(folder, number).read_bytes(), type=Usage)
    except (OSError, msgspec.DecodeError):
        return None


def gpu_seconds(folder: Path, tries: list[Attempt]) -> float:
    """GPUs held times seconds, over all tries."""
    return sum(held.gpu_seconds for each in tries if (held := usage(folder, each.number)) is not None)


def checkpoint_step(folder: Path) -> int:
    """Steps that the checkpoint in the folder has; 0 without one. Reads the header of the safetensors file only."""
    try:
        with (folder / CHECKPOINT).open("rb") as source:
            length = int.from_bytes(source.read(8), "little")
            header = json.loads(source.read(length)) if 0 < length <= _MOST_HEADER else {}
        return int(header["__metadata__"][STEP])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def taken(folder: Path) -> int | None:
    """The folder's lock, held by us as an open file; None when somebody holds it. Makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def is_held(folder: Path) -> bool:
    """Whether somebody holds the folder's lock."""
    try:
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def pid(folder: Path) -> int:
    """The process group of the work; 0 when unknown."""
    try:
        return int((folder / PID).read_text())
    except (OSError, ValueError):
        return 0


def note_pid(folder: Path, number: int) -> None:
    """Say which process group the work is; its starter and its attendant both do, whoever comes first."""
    _replaced(folder / PID, str(number).encode())


def note_usage(folder: Path, number: int, held: Usage) -> None:
    """Say what a try holds, and that it is alive."""
    _replaced(usage_file(folder, number), msgspec.json.encode(held))


def losses(folder: Path) -> list[tuple[int, float]]:
    """(step, loss) of a training as its progress lines tell; what a later try did again counts once."""
    found: dict[int, float] = {}
    for line in _raw_lines(folder / OUT):
        told = decoded(line) or {}
        step, loss = told.get("step"), told.get("loss")
        if isinstance(step, int) and isinstance(loss, int | float):
            found = {known: found[known] for known in found if known < step} | {step: float(loss)}
    return list(found.items())


def last_progress(folder: Path) -> dict[str, Any]:
    """The latest progress line."""
    for line in reversed(tail(folder / OUT).splitlines()):
        if (found := decoded(line)) is not None:
            return found
    return {}


def last_words(folder: Path) -> str:
    """The last line of the log."""
    lines = [line.strip() for line in tail(folder / LOG).decode(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "it said nothing"


def tail(file: Path) -> bytes:
    """The end of a file; nothing where there is none."""
    try:
        with file.open("rb") as source:
            source.seek(0, os.SEEK_END)
            source.seek(max(0, source.tell() - _TAIL_BYTES))
            return source.read()
    except OSError:
        return b""


def _replaced(file: Path, content: bytes) -> None:
    """Whole for every reader; a power cut may lose it."""
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.part")
    unfinished.write_bytes(content)
    unfinished.replace(file)


def _is_cut_off(file: Path) -> bool:
    end = tail(file)[-1:]
    return end not in (b"", b"\n")


def _raw_lines(file: Path) -> list[bytes]:
    try:
        return file.read_bytes().splitlines()
    except OSError:
        return []
