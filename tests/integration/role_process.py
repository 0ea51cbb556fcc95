"""A role as the process users run: ``tidemill run ROLE``, with its log, to be ended or killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, TypeVar

from tests.waiting import until
from tidemill.settings import Settings

ROOT = Path(__file__).parents[2]
T = TypeVar("T")


@dataclass
class Role:
    """One running role; as a context manager it is gone afterwards."""

    name: str
    settings: Settings
    environment: Mapping[str, str]
    file: Path = ROOT / "tidemill.yaml"
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.settings.data_dir / "logs" / f"{self.name}.log"

    def start(self) -> Role:
        """Start it; ready or not (see ``ready``)."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "tidemill.cli.main", "--settings", str(self.file), "run", self.name]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | dict(self.environment))
        return self

    def ready(self, *, within_s: float = 120.0) -> Role:
        """Wait until its readiness page says yes."""
        self.until(lambda: self.readiness() == "ready", within_s=within_s, what=f"{self.name} is ready")
        return self

    def readiness(self) -> str:
        """``ready``, what it waits for, or nothing when the page does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.settings.port(self.name)}/readyz", timeout=2):
                return "ready"
        except urllib.error.HTTPError as error:
            return str(json.loads(error.read()).get("for", ""))
        except OSError:
            return ""

    def until(
        self,
        condition: Callable[[], T | Literal[False] | None],
        *,
        within_s: float = 120.0,
        every_s: float = 0.05,
        what: str = "",
        revive: bool = False,
    ) -> T:
        """The first truthy answer of ``condition``; fails with the log. Ending meanwhile fails too, unless ``revive``
        (then it is started again, as the supervisor would).
        """

        def answer() -> T | Literal[False] | None:
            assert self.process is not None
            code = self.process.poll()
            if code is not None and revive:
                self.start()
            else:
                assert code is None, f"{self.name} ended with {code}"
            return condition()

        try:
            return until(answer, within_s=within_s, every_s=every_s, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.text()}") from error

    def kill(self) -> None:
        """SIGKILL; gone when this returns."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def text(self) -> str:
        return self.log.read_text()[-3000:] if self.log.exists() else ""

    def __enter__(self) -> Role:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.kill()


def environment_of(settings: Settings) -> dict[str, str]:
    """Environment overrides that move tidemill.yaml to where ``settings`` says."""
    return {
        "TIDEMILL_DATA_DIR": str(settings.data_dir),
        "TIDEMILL_LOCAL__PORT_BASE": str(settings.local.port_base),
        "TIDEMILL_CLICKHOUSE__URL": settings.clickhouse_url,
        "TIDEMILL_CLICKHOUSE__DATABASE": settings.clickhouse.database,
        "TIDEMILL_DEPLOYMENT": settings.deployment,
    }
