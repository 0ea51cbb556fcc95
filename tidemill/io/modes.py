"""Who may read what is written: its owner alone, but for the models and adapters that an engine loads.

An engine may run as another user. It is let through the folders above what it loads, and reads nothing beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

_OTHERS = 0o077
_THROUGH, _FOLDER, _FILE = 0o011, 0o055, 0o044


def keep_private() -> None:
    """From now on whatever this process and its children make is their owner's alone. Call it once, at the start."""
    os.umask(_OTHERS)


def let_engines_read(folder: Path) -> None:
    """Open a model's or an adapter's folder and the files in it to every user of the machine."""
    _add(folder, _FOLDER)
    for file in folder.iterdir():
        if file.is_file():
            _add(file, _FILE)


def let_engines_through(*folders: Path) -> None:
    """Let every user go through folders without seeing what else is in them."""
    for folder in folders:
        _add(folder, _THROUGH)


def write_private(file: Path, text: str) -> None:
    """Replace a file that only its owner can read, whole or not at all, whatever the umask."""
    unfinished = file.with_name(file.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    unfinished.replace(file)


def _add(path: Path, bits: int) -> None:
    mode = path.stat().st_mode & 0o777
    if mode | bits != mode:
        path.chmod(mode | bits)
