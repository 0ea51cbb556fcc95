"""Ports of the stack, checked before anything starts."""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from tidemill.errors import Stop
from tidemill.local.process import Process
from tidemill.settings.model import PORTS

BASE_SETTING = "local.port_base"
BASE_VARIABLE = "TIDEMILL_LOCAL__PORT_BASE"
_FREE_BASES = range(20_200, 31_000, 250)


def refuse_taken(processes: Iterable[Process], port_base: int) -> None:
    """Raise Stop, naming each taken port and the setting that moves it, unless every port is free."""
    taken = [
        (process.name, setting, port)
        for process in processes
        for setting, port in process.ports.items()
        if not is_free(port)
    ]
    if taken:
        raise Stop("\n".join(explain(*entry, port_base) for entry in taken))


def explain(name: str, setting: str, port: int, port_base: int) -> str:
    """The sentence about one taken port."""
    if setting.startswith(BASE_SETTING):
        way = f"move all ports with {BASE_SETTING} (now {port_base}), for example {BASE_VARIABLE}={port_base + 1000}"
    else:
        way = f"move it with {setting}, for example TIDEMILL_{setting.upper().replace('.', '__')}={port + 1000}"
    return f"port {port}, which {name} needs, is taken by another program; end that program or {way}"


def is_free(port: int) -> bool:
    """Whether a server could listen on this port of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError:
            return False
    return True


def free_port_base() -> int:
    """A ``local.port_base`` whose every port is free now, kept from others who ask here until this process ends.

    Raises Stop when there is none.
    """
    for base in _FREE_BASES:
        if all(is_free(base + offset) for offset in PORTS.values()) and _claim(base):
            return base
    raise Stop(f"no free ports for a stack from {_FREE_BASES.start} to {_FREE_BASES.stop}; end what listens there")


_claims: list[int] = []


def _claim(base: int) -> bool:
    """Lock the base's file, of which the kernel lets go when this process ends; False where another holds it."""
    file = os.open(Path(tempfile.gettempdir()) / f"tidemill-ports-{base}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return False
    _claims.append(file)
    return True
