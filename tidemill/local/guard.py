"""Kills what is left when the process that feeds it dies: the second half of "nothing is left behind".

``launch.py`` covers the programs started; this covers their children (workers of a server). It reads ``+GROUP`` and
``-GROUP`` lines; at the end of its input every process group still noted, and every process that carries the
environment entry named on the command line, gets SIGKILL.
"""

import os
import signal
import sys


def main() -> None:
    """Follow standard input to its end, then kill what is left."""
    mark = sys.argv[1].encode()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        if line.startswith("+"):
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            pass
    while marked := [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _carries(pid, mark)]:
        for pid in marked:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass


def _carries(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False


if __name__ == "__main__":
    main()
