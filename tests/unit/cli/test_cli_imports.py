"""The command line starts quickly: what only some commands need is imported by those commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
HEAVY = {"numpy", "pyarrow", "aiohttp", "confluent_kafka"}


def test_starting_the_command_line_loads_no_heavy_library() -> None:
    script = f"import sys, tidemill.cli.main; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == []
