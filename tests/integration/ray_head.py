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


@contextmanager
def ray_head(cpus: int, gpus: int) -> Iterator[str]:
    """The address of its dashboard. ``gpus`` are what Ray is told it has: it counts and gives them out all the same."""
    assert RAY.exists(), f"{RAY} is missing: run python3 deploy/setup.py --ray"
    folder = Path(tempfile.mkdtemp(prefix="tmray-", dir="/tmp"))  # short: sockets live there
    port, gcs = _free_port(), _free_port()
    options = {
        "port": gcs,
        "node-ip-address": "127.0.0.1",
        "dashboard-host": "127.0.0.1",
        "dashboard-port": port,
        "dashboard-agent-listen-port": _free_port(),
        "dashboard-agent-grpc-port": _free_port(),
        "num-cpus": cpus,
        "num-gpus": gpus,
        "object-store-memory": OBJECT_STORE_BYTES,
        "temp-dir": folder,
    }
    command = [str(RAY), "start", "--head", "--block", "--disable-usage-stats"]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1"}
    environment.pop("PYTHONPATH", None)
    log = folder / "start.log"
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment, start_new_session=True, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}"
        until(lambda: _answers(url, process, log), within_s=START_S, every_s=0.2, what="Ray takes jobs")
        yield url
    finally:
        _kill_all_in(folder)  # an orderly end takes half a minute, and there is nothing to keep
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _answers(url: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-3000:]
    try:
        return httpx.get(f"{url}/api/jobs/", timeout=5, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


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
