"""Runs a program so that it cannot outlive the process that started it.

``python -I -S launch.py PARENT NICE PROGRAM ARGUMENTS…``: asks the kernel for SIGKILL at the parent's death
(``PR_SET_PDEATHSIG``, kept over exec), then becomes the program; what that writes is its owner's alone. A file of its
own, run without site packages, because code between fork and exec is unsafe in a process with threads. Linux only.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the program named on the command line."""
    parent, nice, *program = sys.argv[1:]
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(parent):  # it died before we asked
        raise SystemExit(1)
    os.umask(0o077)
    if int(nice):
        os.nice(int(nice))
        _stand_back(int(nice))
    try:
        os.execvp(program[0], program)
    except OSError as error:
        print(f"{program[0]}: cannot be started: {error.strerror}", file=sys.stderr)
        raise SystemExit(127) from None


def _stand_back(nice: int) -> None:
    """Where the kernel schedules sessions as groups, niceness counts within a group only: lower the group, too."""
    try:
        with open("/proc/self/autogroup", "w") as group:
            group.write(str(nice))
    except OSError:
        pass


if __name__ == "__main__":
    main()
