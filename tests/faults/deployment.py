"""A whole deployment under the real supervisor: broker and store, then the roles; each can be hurt while it runs."""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from consumers.alerts.receiver import serve
from tests.faults.proxy import Proxy
from tidemill.local.plan import embedded_stack
from tidemill.local.ports import free_port_base
from tidemill.local.probes import http_ok
from tidemill.local.process import Process
from tidemill.local.supervisor import Supervisor
from tidemill.settings import load_settings

FILE = Path(__file__).parents[2] / "tidemill.yaml"
GROUND = ("kafka", "store", "init")
ROLES = ("meter", "streams", "sink", "alerts")
READY_S = 240.0


class Deployment:
    """As a context manager: broker, store, topics and tables are there at its begin, nothing is left at its end.

    ``members``: further members of a role's group, as ``sink-2``. ``disk_mb``: the store lives on a disk of this size
    (a tmpfs, which takes the right to mount). The sink reaches the store through ``proxy``.
    """

    def __init__(self, folder: Path, seed: int, members: Sequence[str] = (), disk_mb: int = 0) -> None:
        moved = {
            "TIDEMILL_DATA_DIR": str(folder),
            "TIDEMILL_LOCAL__PORT_BASE": str(_base(0)),
            "TIDEMILL_DEPLOYMENT": "faults",
        }
        self.settings = load_settings(FILE, moved)
        self._environment = {**os.environ, "TIDEMILL_SETTINGS": str(FILE), **moved}
        self._members = members
        self._disk = folder / "disk" if disk_mb else None
        if self._disk is not None:
            self._mount(self._disk, disk_mb)
        self.proxy = Proxy(self.settings.port("store"), seed)
        self.receiver = serve(self.settings.port("receiver"), quiet=True)
        threading.Thread(target=self.receiver.serve_forever, name="receiver", daemon=True).start()
        self._ground = self._supervisor(embedded_stack(self.settings, GROUND))
        self._roles: Supervisor | None = None

    def start_roles(self) -> None:
        """Start every role; return once all are ready."""
        processes = {process.name: self._reached(process) for process in embedded_stack(self.settings, ROLES)}
        further = [self._member(name, processes[name.partition("-")[0]]) for name in self._members]
        self._roles = self._supervisor([*processes.values(), *further])
        self._roles.start()
        self._roles.wait_ready(READY_S)

    def hurt(self, name: str, number: int) -> int:
        """Send a signal to a part and its children; its process id. Raises Stop where it does not run just now."""
        supervisor = self._ground if name in GROUND else self._roles
        assert supervisor is not None
        return supervisor.kill(name, number)

    def pid(self, name: str) -> int:
        """Process id of a part; Raises Stop where it does not run just now."""
        return self.hurt(name, 0)

    def restarts(self) -> int:
        """How often any part was started again."""
        parts = [self._ground, *([self._roles] if self._roles else [])]
        return sum(state.restarts for supervisor in parts for state in supervisor.states())

    def fill_disk(self) -> None:
        """Leave the store not one byte."""
        assert self._disk is not None
        with (self._disk / "ballast").open("wb", buffering=0) as ballast:
            try:
                while True:
                    ballast.write(bytes(65_536))
            except OSError:
                pass

    def free_disk(self) -> None:
        """Give the store its disk back."""
        assert self._disk is not None
        (self._disk / "ballast").unlink(missing_ok=True)

    def receiver_counts(self) -> dict[str, int]:
        """How often each webhook-id was delivered."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.port('receiver')}/alerts", timeout=10) as answer:
            return {alert["webhook_id"]: alert["deliveries"] for alert in json.loads(answer.read())}

    def audited(self, within_s: float = 120.0) -> dict[str, Any]:
        """What `tidemill audit` says of this deployment, over all that Kafka keeps."""
        command = [sys.executable, "-m", "tidemill.cli.main", "audit", "--json"]
        environment = {**self._environment, "TIDEMILL_KAFKA__BOOTSTRAP": self.settings.kafka_bootstrap}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=within_s)
        assert done.returncode in (0, 1) and done.stdout, done.stderr
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return said

    def logs(self) -> str:
        """The last lines of every part's log."""
        files = sorted((self.settings.data_dir / "logs").glob("*.log"))
        return "\n".join(f"--- {file.name}\n{file.read_text(errors='replace')[-1500:]}" for file in files)

    def __enter__(self) -> Deployment:
        try:
            self._ground.start()
            self._ground.wait_ready(READY_S)
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        if self._roles is not None:
            self._roles.stop(hurry=True)
        self._ground.stop(hurry=True)
        self.proxy.close()
        self.receiver.shutdown()
        self.receiver.server_close()
        if self._disk is not None:
            subprocess.run(["umount", "--lazy", str(self._disk)], check=True)

    def _supervisor(self, processes: list[Process]) -> Supervisor:
        return Supervisor(processes, self.settings.data_dir / "logs", environ=self._environment)

    def _reached(self, process: Process) -> Process:
        """The sink goes through the proxy."""
        if process.name != "sink":
            return process
        return dataclasses.replace(process, env={**process.env, "TIDEMILL_CLICKHOUSE__URL": self.proxy.url})

    def _member(self, name: str, process: Process) -> Process:
        """The same role once more, on health ports of its own."""
        base = _base(1 + self._members.index(name))
        env = {
            "TIDEMILL_CLICKHOUSE__URL": self.settings.clickhouse_url,
            **process.env,
            "TIDEMILL_KAFKA__BOOTSTRAP": self.settings.kafka_bootstrap,
            "TIDEMILL_LOCAL__PORT_BASE": str(base),
        }
        port = self.settings.port(process.name) - self.settings.local.port_base + base
        return dataclasses.replace(process, name=name, env=env, probe=http_ok(port, "/readyz"), ports={})

    def _mount(self, disk: Path, size_mb: int) -> None:
        disk.mkdir(parents=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size_mb}m", "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise AssertionError(f"a full disk takes the right to mount a tmpfs: {done.stderr.strip()}; run it as root")
        (disk / "store").mkdir(mode=0o700)
        (self.settings.data_dir / "store").symlink_to(disk / "store")


@functools.cache
def _base(number: int) -> int:
    """The port base of the deployment (0) or of a further member: the same for each deployment of this process."""
    return free_port_base()


STOP, CONTINUE, KILL, END = signal.SIGSTOP, signal.SIGCONT, signal.SIGKILL, signal.SIGTERM
