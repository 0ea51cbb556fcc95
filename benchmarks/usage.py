"""What processes cost: CPU time and memory, read from /proc."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s(pid: int) -> float:
    """CPU time the process and its threads have used, seconds."""
    return _cpu_s(Path(f"/proc/{pid}/stat"))


def main_thread_cpu_s(pid: int) -> float:
    """CPU time of the process's main thread alone, seconds."""
    return _cpu_s(Path(f"/proc/{pid}/task/{pid}/stat"))


def busy_s() -> float:
    """CPU time all processes of the machine have used, seconds."""
    user, nice, system, _idle, _iowait, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / _TICKS


def rss_mb(pid: int) -> float:
    """Memory the process holds, MB."""
    return _memory_mb(pid, "VmRSS:")


def peak_rss_mb(pid: int) -> float:
    """The most memory the process has held, MB."""
    return _memory_mb(pid, "VmHWM:")


def _cpu_s(stat: Path) -> float:
    fields = stat.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _memory_mb(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)
