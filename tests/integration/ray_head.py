"""A real Ray of one node on loopback, in its own environment; as a context manager it is gone afterwards."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.waiting import until

RAY = Path(__file__).parents[2] / ".venv-ray" / "bin" / "ray"
OBJECT_STORE_BYTES = 80_000_000
START_S = 300.0
"""A slow machine that does other things takes minutes."""
STARTED, TOO_SLOW = "Ray runtime started", "timed out during startup"
"""What Ray says."""


@contextmanager
def ray_head(cpus: int, gpus: int) -> Iterator[str]:
    """The address of its dashboard. ``gpus`` are what Ray is told it has: it counts and gives them out all the same."""
    assert RAY.exists(), f"{RAY} is missing: run python3 deploy/setup.py --ray"
    heads: list[_Head] = []

    def answering() -> str:
        """Ray's own limit for its start is 30 s, which a busy machine may need again."""
        if not heads or heads[-1].gave_up():
            heads.append(_Head(cpus, gpus))
        return heads[-1].url if heads[-1].answers() else ""

    try:
        yield until(answering, within_s=START_S, every_s=0.2, what="Ray takes jobs")
    finally:
        for each in heads:
            each.close()


class _Head:
    """One start of Ray, in a folder of its own."""

    def __init__(self, cpus: int, gpus: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="tmray-", dir="/tmp"))  # short: sockets live there
        self._log = self._folder / "start.log"
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        options = {
            "port": _free_port(),
            "node-ip-address": "127.0.0.1",
            "dashboard-host": "127.0.0.1",
            "dashboard-port": port,
            "dashboard-agent-listen-port": _free_port(),
            "dashboard-agent-grpc-port": _free_port(),
            "num-cpus": cpus,
            "num-gpus": gpus,
            "object-store-memory": OBJECT_STORE_BYTES,
            "temp-dir": self._folder,
        }
        command = [str(RAY), "start", "--head", "--block", "--disable-usage-stats"]
        command += [f"--{name}={value}" for name, value in options.items()]
        told = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1", "PYTHONUNBUFFERED": "1"}
        environment = {**os.environ, **told}
        environment.pop("PYTHONPATH", None)
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                command, stdout=out, stderr=out, env=environment, start_new_session=True, cwd=self._folder
            )

    def gave_up(self) -> bool:
        """Whether it was too slow for itself; it is gone then. Fails where it ended for another reason."""
        if self._process.poll() is None:
            return False
        said = self._log.read_text()
        assert TOO_SLOW in said, said[-3000:]
        self.close()
        return True

    def answers(self) -> bool:
        """Whether it has started, not only its dashboard, which comes first."""
        if STARTED not in self._log.read_text():
            return False
        try:
            return httpx.get(f"{self.url}/api/jobs/", timeout=5, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def close(self) -> None:
        """End all of it; it may be called again."""
        _kill_all_in(self._folder)  # an orderly end takes half a minute, and there is nothing to keep
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _kill_all_in(folder: Path) -> None:
    """Ray's processes name their folder on their command lines, whatever sessions they have made for themselves."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)
            except OSError:
                continue


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
