"""Other stream processors with the meter's task: count, tokens and latency per pipeline and second of event time.

Each runs on the topic that the meter reads, in a process of its own and, but for Faust, in an environment of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from tidemill.errors import Stop

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".cache" / "peers"
UV = ROOT / ".cache" / "uv" / "bin" / "uv"


class Peer(NamedTuple):
    """A stream processor to compare with."""

    name: str
    script: str
    """File in this folder; called with bootstrap servers, topic and number of events, ends with one JSON line."""
    requirements: str | None
    """File of pinned requirements; None: the product's own environment has it."""
    share: float
    """Of the events; the slow ones are given fewer."""


PEERS = {
    "faust": Peer("Faust, an agent per event", "faust_agent.py", None, 0.05),
    "quix": Peer("Quix Streams, tumbling window", "quix_window.py", "peers-quix.txt", 0.15),
    "bytewax": Peer("Bytewax, fold_window", "bytewax_fold.py", "peers-bytewax.txt", 0.5),
}


def interpreter(name: str) -> Path:
    """The Python that runs a peer; makes its environment where it is missing or out of date. Raises Stop."""
    wanted = PEERS[name].requirements
    if wanted is None:
        return Path(sys.executable)
    folder = ENVIRONMENTS / name
    requirements = ROOT / "requirements" / wanted
    mark, digest = folder / "requirements.sha256", hashlib.sha256(requirements.read_bytes()).hexdigest()
    if not mark.exists() or mark.read_text(encoding="utf-8") != digest:
        uv = shutil.which("uv") or str(UV)
        _command([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)], name)
        python = str(folder / "bin" / "python")
        _command(
            [uv, "pip", "install", "--quiet", "--require-hashes", "--python", python, "-r", str(requirements)], name
        )
        mark.write_text(digest, encoding="utf-8")
    return folder / "bin" / "python"


def run(name: str, bootstrap: str, topic: str, events: int, within_s: float = 600.0) -> dict[str, Any]:
    """A peer's figures over that many events of the topic: events, seconds, cpu_s. Blocks. Raises Stop."""
    script = Path(__file__).parent / PEERS[name].script
    said = _command([str(interpreter(name)), str(script), bootstrap, topic, str(events)], name, within_s)
    found: dict[str, Any] = json.loads(said.strip().splitlines()[-1])
    return found


def _command(command: list[str], name: str, within_s: float = 600.0) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Stop(f"{name} could not be measured: {error}") from error
    if done.returncode != 0:
        raise Stop(f"{name} could not be measured: {' '.join(done.stderr.split())[-300:]}")
    return done.stdout
