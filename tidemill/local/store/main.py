"""The store as a process: opens the data, listens, and leaves cleanly on SIGTERM."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from tidemill.errors import Stop
from tidemill.local.store.database import Database, DatabaseLimits
from tidemill.local.store.server import MAX_BODY, Door, StoreServer
from tidemill.settings import Settings

_DRAIN_S = 20.0
_ENDING = (signal.SIGTERM, signal.SIGINT)


def run(settings: Settings) -> NoReturn:
    """The embedded stack's store, where ``settings`` puts it; see ``serve``."""
    serve(settings.data_dir / "store", door_at("127.0.0.1", settings.port("store")), DatabaseLimits())


def door_at(host: str, port: int, *, max_body: int = MAX_BODY) -> Door:
    """A door whose user and password come from TIDEMILL_STORE_USER and TIDEMILL_STORE_PASSWORD."""
    user = os.environ.get("TIDEMILL_STORE_USER") or "default"
    return Door(host, port, user, os.environ.get("TIDEMILL_STORE_PASSWORD") or None, max_body)


def serve(path: Path, door: Door, limits: DatabaseLimits) -> NoReturn:
    """Serves ``path`` at ``door`` until SIGTERM or SIGINT, then ends the process: code 0 after a clean end, 3 when only
    another process can go on (start it again: acknowledged rows are on disk). Raises Stop when it cannot start: the
    process is to end then, for those signals stay blocked."""
    _check(door)
    # Blocked in every thread that starts from here on: one of chDB's would take a signal and main sleep on.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    path = path.resolve()
    database = Database(path, limits)
    spool = path / "spool"
    shutil.rmtree(spool, ignore_errors=True)
    spool.mkdir(mode=0o700)
    try:
        server = StoreServer(database, door, spool)
    except OSError as error:
        database.close(wait_s=0)
        raise Stop(f"--port {door.port} on --host {door.host}: {error.strerror}; choose another with --port") from error
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True)
    serving.start()
    _log("ready", f"http://{door.host}:{server.server_port}", version=database.version, path=str(path))
    signal.sigwait(_ENDING)
    server.stopping.set()
    server.shutdown()
    server.server_close()
    if server.lost:
        _log("lost", f"{server.lost}; start the store again")
    clean = database.close(wait_s=_DRAIN_S)
    _log("stopped", "all queries ended" if clean else f"queries were still running after {_DRAIN_S:g} s")
    sys.stdout.flush()
    # Connections that are merely kept alive hold threads: there is nothing left to wait for.
    os._exit(3 if server.lost else 0)


def _check(door: Door) -> None:
    local = door.host == "localhost"
    if not local:
        try:
            local = ipaddress.ip_address(door.host).is_loopback
        except ValueError:
            local = False
    if not local and door.password is None:
        raise Stop(
            f"--host {door.host} is open to other machines: set TIDEMILL_STORE_PASSWORD, or use --host 127.0.0.1"
        )


def _log(event: str, message: str, **more: str) -> None:
    print(json.dumps({"event": event, "message": message, **more}), flush=True)
