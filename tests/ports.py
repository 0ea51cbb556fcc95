"""Free ports for a stack under test."""

from __future__ import annotations

import os
import socket

from tidemill.settings.model import PORTS

_FIRST, _LAST, _STEP = 20_200, 31_000, 250


def free_port_base() -> int:
    """A ``local.port_base`` whose every port is free now; differs between test runs at the same time."""
    bases = list(range(_FIRST, _LAST, _STEP))
    start = os.getpid() % len(bases)
    for base in bases[start:] + bases[:start]:
        if all(_free(base + offset) for offset in PORTS.values()):
            return base
    raise RuntimeError("no free ports for the stack under test")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
