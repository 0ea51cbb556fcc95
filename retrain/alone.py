"""One piece of work outside of any job, in a process of its own that is waited for."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from retrain.whole import write_json
from tidemill.errors import Stop

Report = Callable[[dict[str, Any]], None]
"""Called with each of its progress lines."""


def run_alone(module: str, spec: Mapping[str, Any], folder: Path, report: Report) -> None:
    """Run ``python -m module --spec`` in a new folder, to its end. Blocks. Raises Stop with its last words."""
    folder.mkdir(parents=True)
    file, errors = folder / "spec.json", folder / "log.txt"
    write_json(file, dict(spec))
    environment = {**os.environ, "OMP_NUM_THREADS": str(spec.get("threads", 1)), "PYTHONUNBUFFERED": "1"}
    with (
        errors.open("wb") as log,
        subprocess.Popen(
            [sys.executable, "-m", module, "--spec", str(file)], stdout=subprocess.PIPE, stderr=log, env=environment
        ) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(b"{"):
                    report(msgspec.json.decode(line))
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        last = " / ".join(errors.read_text(errors="replace").strip().splitlines()[-3:])
        raise Stop(f"{module} ended with code {process.returncode}: {last[:500]}")
