"""Log files of the stack: bounded, and read from their end."""

from __future__ import annotations

import shutil
from pathlib import Path

MAX_BYTES = 20_000_000


def bound(log: Path, max_bytes: int = MAX_BYTES) -> bool:
    """Move a log that has grown past ``max_bytes`` to ``<name>.1`` (one kept); whether it did.

    The writer keeps its open file, which is emptied: lines written during the copy may be lost.
    """
    try:
        if log.stat().st_size <= max_bytes:
            return False
        shutil.copyfile(log, log.with_name(log.name + ".1"))
        with log.open("r+b") as file:
            file.truncate(0)
    except OSError:
        return False
    return True


def last_line(log: Path, max_bytes: int = 4096) -> str:
    """The last line with text in it, cut to 300 characters; empty when there is none."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - max_bytes))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
