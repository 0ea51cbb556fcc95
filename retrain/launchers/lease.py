"""What a piece of work may hold of this machine: GPUs, one lock file each, and memory that is free.

A lease is an open, locked file: it ends with its process, however that ends. Who holds no lease sees no GPU.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

GB = 1_000_000_000
_CGROUP = Path("/sys/fs/cgroup")
_MODE, _FOLDER_MODE = 0o666, 0o1777


class NotNow(Exception):
    """It is held or not free now; the message says what is asked for and what there is. It may be free later."""


class NeverFree(Exception):
    """This machine has not got as much; the message names the setting and what there is."""


class Gpu(NamedTuple):
    """One GPU of the machine; memory in GB."""

    number: int
    uuid: str
    total_gb: float
    free_gb: float


def held(gpus: Sequence[Gpu], count: int, memory_gb: float, folder: Path, leases: ExitStack) -> list[Gpu]:
    """Lease ``count`` GPUs with so much free memory each, all or none; closing ``leases`` gives them back.

    ``gpus`` are those of the machine. Raises NotNow or NeverFree.
    """
    if not count:
        return []
    large = [gpu for gpu in gpus if gpu.total_gb >= memory_gb]
    if len(large) < count:
        with_memory = f" with {memory_gb:g} GB (gpu_memory_gb)" if memory_gb else ""
        message = f"retrain.launcher.gpus = {count}{with_memory}: this machine has {len(large)}"
        raise NeverFree(f"{message}; set less, or another retrain.launcher.kind")
    chosen: list[Gpu] = []
    locked_out = ""
    with ExitStack() as tried:
        try:
            _make(folder)
        except OSError as error:
            raise NotNow(_cannot(folder, error)) from error
        for gpu in large:
            try:
                if len(chosen) < count and gpu.free_gb >= memory_gb and _leased(folder / f"{gpu.uuid}.lock", tried):
                    chosen.append(gpu)
            except OSError as error:
                locked_out = "; " + _cannot(folder / f"{gpu.uuid}.lock", error)
        if len(chosen) < count:
            with_memory = f" and have {memory_gb:g} GB free" if memory_gb else ""
            free = f"{len(chosen)} of {len(large)} are not leased{with_memory}"
            raise NotNow(f"{count} GPUs are needed, {free}{locked_out}")
        leases.push(tried.pop_all())
    return chosen


def room_for(asked_gb: float, total_gb: float, free_gb: float, what: str) -> None:
    """Whether so much is free. Raises NotNow or NeverFree."""
    if asked_gb > total_gb:
        message = f"retrain.launcher.memory_gb = {asked_gb:g}: this machine has {total_gb:.1f} GB of {what}"
        raise NeverFree(f"{message}; set less, or another retrain.launcher.kind")
    if asked_gb > free_gb:
        raise NotNow(f"{asked_gb:g} GB of {what} are needed, {free_gb:.1f} of {total_gb:.1f} GB are free")


def machine_memory_gb(meminfo: Path = Path("/proc/meminfo"), cgroup: Path = _CGROUP) -> tuple[float, float]:
    """(total, free) memory in GB: the machine's, or the container's where that is less."""
    kb = {line.split(":")[0]: int(line.split()[1]) for line in meminfo.read_text().splitlines() if line.endswith("kB")}
    total, free = kb["MemTotal"] * 1024 / GB, kb["MemAvailable"] * 1024 / GB
    try:
        limit = int((cgroup / "memory.max").read_text()) / GB
        used = int((cgroup / "memory.current").read_text()) / GB
    except (OSError, ValueError):
        return total, free  # no limit
    return min(total, limit), min(free, limit - used)


def machine_gpus() -> list[Gpu]:
    """The GPUs of this machine, by NVML; none where there is no driver. Raises NeverFree without its bindings."""
    try:
        import pynvml
    except ImportError as error:
        raise NeverFree("retrain.launcher.gpus needs nvidia-ml-py: install tidemill's extra host") from error
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    try:
        return [_gpu(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
    finally:
        pynvml.nvmlShutdown()


def _gpu(nvml: Any, index: int) -> Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    memory, uuid = nvml.nvmlDeviceGetMemoryInfo(handle), nvml.nvmlDeviceGetUUID(handle)
    return Gpu(index, uuid.decode() if isinstance(uuid, bytes) else uuid, memory.total / GB, memory.free / GB)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True)
        folder.chmod(_FOLDER_MODE)  # every user's deployment leases here
    except FileExistsError:
        pass


def _cannot(path: Path, error: OSError) -> str:
    way_out = "let every user that leases here write it (retrain.launcher.lease_dir)"
    return f"{path} cannot be used: {error.strerror}; {way_out}"


def _opened(file: Path) -> int:
    """The lock file, made where there is none; whoever came first, every user can open it."""
    flags = os.O_RDWR | os.O_NOFOLLOW
    try:
        return os.open(file, flags)  # with O_CREAT the kernel may refuse another user's file (fs.protected_regular)
    except FileNotFoundError:
        pass
    try:
        made = os.open(file, flags | os.O_CREAT | os.O_EXCL, _MODE)
    except FileExistsError:
        return os.open(file, flags)
    os.fchmod(made, _MODE)  # whatever the umask
    return made


def _leased(file: Path, leases: ExitStack) -> bool:
    """Take the lock of one GPU; False when somebody holds it. Raises OSError."""
    handle = _opened(file)
    os.set_inheritable(handle, True)  # the work keeps the lease, too
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        return False
    leases.callback(os.close, handle)
    return True
