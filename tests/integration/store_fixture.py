"""A real store process for tests: started, waited for, stopped or killed."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

import tidemill.local
from tests.waiting import until

__all__ = ["StoreProcess", "free_port", "launch_store", "start_store", "store"]
_LAUNCH = Path(tidemill.local.__file__ or "").with_name("launch.py")


@dataclass(slots=True)
class StoreProcess:
    """A running store. ``url`` is where it answers, ``log`` the file with its output."""

    url: str
    host: str
    port: int
    path: Path
    log: Path
    process: subprocess.Popen[bytes]

    def stop(self) -> int:
        """SIGTERM, and the exit code once it has ended."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        """SIGKILL, and gone when this returns."""
        self.process.kill()
        self.process.wait(timeout=60)


def free_port() -> int:
    """A port of the loopback that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def launch_store(
    path: Path, port: int, *options: str, environment: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """The bare process, not waited for; its output goes to ``path``.log. It dies with this test run."""
    tied = [sys.executable, "-I", "-S", str(_LAUNCH), str(os.getpid()), "0"]
    command = [*tied, sys.executable, "-m", "tidemill.local.store", "--path", str(path), "--port", str(port), *options]
    with Path(f"{path}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **(environment or {})})


def start_store(
    path: Path, port: int | None = None, *options: str, environment: Mapping[str, str] | None = None
) -> StoreProcess:
    """Starts a store on ``path`` and returns once it answers; fails with its output when it ends before that."""
    port = port or free_port()
    process = launch_store(path, port, *options, environment=environment)
    store = StoreProcess(f"http://127.0.0.1:{port}", "127.0.0.1", port, path, Path(f"{path}.log"), process)

    def ready() -> bool:
        if process.poll() is not None:
            raise AssertionError(f"the store ended with {process.returncode}: {store.log.read_text()}")
        try:
            with urllib.request.urlopen(f"{store.url}/ping", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    try:
        until(ready, within_s=60, what=f"{store.url}/ping answers")
    except BaseException:
        process.kill()
        process.wait()
        raise
    return store


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreProcess]:
    """One store for the whole session; tests keep to databases or tables of their own."""
    running = start_store(tmp_path_factory.mktemp("store") / "data")
    yield running
    assert running.stop() == 0, running.log.read_text()
