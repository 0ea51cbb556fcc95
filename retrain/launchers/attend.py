"""Stands over one try at a piece of work, wherever it runs; small, as it lives as long as the work.

    python -m retrain.launchers.attend FOLDER

1. take the folder's lock (or get it handed down), so that no second try runs;
2. wait for the GPUs and the memory that the work asks for, and lease the GPUs;
3. start the work, which sees these GPUs only;
4. write down each second that it is alive, so that what it held is known whoever is killed;
5. end it when it takes longer than it may.

The work dies with its attendant, so ending the attendant ends the try. Lock and leases are open files that the kernel
closes; nothing is left behind that would have to be cleared up.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from retrain.launchers import folder as places
from retrain.launchers.lease import Gpu, NeverFree, NotNow, held, machine_gpus, machine_memory_gb, room_for
from retrain.whole import write_json
from tidemill.clock import SystemClock

BEAT_S = 0.5
BUSY = 75
"""Exit code: another try of the work holds the folder (EX_TEMPFAIL)."""
_PR_SET_PDEATHSIG = 1
_clock = SystemClock()
_libc = ctypes.CDLL(None)


class Attended(Struct, frozen=True, kw_only=True):
    """How one try is to be attended (attempt.json)."""

    number: int
    name: str
    module: str
    result: str
    nice: int = 0
    threads: int = 1
    gpus: int = 0
    gpu_memory_gb: float = 0
    memory_gb: float = 0
    max_wait_s: float = 3600
    limit_s: float = 0
    lease_dir: str = ""
    """Empty: a cluster has given us our GPUs and memory already, and says which in CUDA_VISIBLE_DEVICES."""


def main() -> int:
    """Command line entry; the exit code is the work's, BUSY, or 1 when it could not begin."""
    folder = Path(sys.argv[1])
    handed = os.environ.pop("TIDEMILL_LOCK", "")
    lock = int(handed) if handed else places.taken(folder)
    if lock is None:
        print(f"another try of the work in {folder} is still running", file=sys.stderr)
        return BUSY
    places.note_pid(folder, os.getpid())
    asked = msgspec.json.decode((folder / places.ATTEMPT).read_bytes(), type=Attended)
    with (folder / places.OUT).open("ab") as out, (folder / places.LOG).open("ab") as log, ExitStack() as leases:
        _say(out, attempt=asked.number, note=f"starting: {asked.name}")
        try:
            gpus = _waited(asked, leases, out)
        except NeverFree as error:
            _refuse(asked, str(error))
            return 1
        except NotNow as error:
            log.write(f"waited {asked.max_wait_s:g} s (retrain.launcher.max_wait_s) in vain: {error}\n".encode())
            return 1
        _stand_back(asked.nice)
        return _attended(folder, asked, gpus, lock, out, log)


def _waited(asked: Attended, leases: ExitStack, out: IO[bytes]) -> list[Gpu] | None:
    """The GPUs leased; None on a cluster. Raises NeverFree, or NotNow once max_wait_s is over."""
    if not asked.lease_dir:
        return None
    until = time.monotonic() + asked.max_wait_s
    while True:
        try:
            room_for(asked.memory_gb, *machine_memory_gb(), what="memory")
            gpus = machine_gpus() if asked.gpus else []
            return held(gpus, asked.gpus, asked.gpu_memory_gb, Path(asked.lease_dir), leases)
        except NotNow as error:
            if time.monotonic() >= until:
                raise
            _say(out, waiting=str(error))
            time.sleep(BEAT_S)


def _attended(folder: Path, asked: Attended, gpus: list[Gpu] | None, lock: int, out: IO[bytes], log: IO[bytes]) -> int:
    begun, forwarded = (_clock.now_ms(), _clock.monotonic_s()), log.tell()
    work = _spawn(folder, asked, gpus, lock, out, log)
    code: int | None = None
    while code is None:
        _beat(folder, asked, begun)
        try:
            code = work.wait(BEAT_S)
        except subprocess.TimeoutExpired:
            if asked.limit_s and _clock.monotonic_s() - begun[1] > asked.limit_s:
                work.kill()
                work.wait()
                _refuse(asked, f"it took longer than retrain.timeout_s = {asked.limit_s:g}")
                code = 1
        if gpus is None:
            forwarded = _forward(folder / places.LOG, forwarded)
    _beat(folder, asked, begun)
    if code >= 0:
        return code
    log.write(f"{asked.name} was ended by signal {-code} ({signal.Signals(-code).name})\n".encode())
    return 128 - code


def _beat(folder: Path, asked: Attended, begun: tuple[int, float]) -> None:
    """``begun``: by the wall clock in ms, which others compare with theirs, and by the one that nobody sets in s."""
    ran_s = round(_clock.monotonic_s() - begun[1], 3)
    held = places.Usage(begun_ms=begun[0], ended_ms=_clock.now_ms(), gpus=asked.gpus, ran_s=ran_s)
    places.note_usage(folder, asked.number, held)


def _spawn(
    folder: Path, asked: Attended, gpus: list[Gpu] | None, lock: int, out: IO[bytes], log: IO[bytes]
) -> subprocess.Popen[bytes]:
    threads = str(asked.threads)
    os.set_inheritable(lock, True)
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "PYTHONUNBUFFERED": "1"}
    if gpus is not None:
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in gpus)
    elif not asked.gpus:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return subprocess.Popen(
        [sys.executable, "-m", asked.module, "--spec", str(folder / places.SPEC)],
        stdin=subprocess.DEVNULL,
        stdout=out,
        stderr=log,
        env=environment,
        close_fds=False,  # lock and leases are handed down: they fall free when the last of us is gone
        preexec_fn=_dying_with(os.getpid()),  # noqa: PLW1509 - one thread
    )


def _dying_with(parent: int) -> Callable[[], None]:
    def arrange() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)

    return arrange


def _stand_back(nice: int) -> None:
    """Where the kernel schedules sessions as groups (autogroup), niceness counts within a group only, so the whole
    group stands back as well.
    """
    os.nice(nice)
    try:
        Path("/proc/self/autogroup").write_text(str(min(nice, 10)))
    except OSError:
        pass  # no such kernel, or no right to


def _refuse(asked: Attended, reason: str) -> None:
    file = Path(asked.result)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, {"refused": reason})


def _forward(log: Path, position: int) -> int:
    """What the work has logged goes to the cluster's log, too."""
    with log.open("rb") as source:
        source.seek(position)
        new = source.read()
    sys.stderr.write(new.decode(errors="replace"))
    sys.stderr.flush()
    return position + len(new)


def _say(out: IO[bytes], **fact: Any) -> None:
    out.write(msgspec.json.encode(fact) + b"\n")
    out.flush()


if __name__ == "__main__":
    sys.exit(main())
