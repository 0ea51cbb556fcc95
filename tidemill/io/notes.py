"""Folders of notes that people and roles leave for one role: a JSON file each.

Whoever wrote first owns the folder, so that another user's role may not be able to look into it, or to take a note.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from tidemill.errors import Stop

N = TypeVar("N")
Amiss = Callable[[str], None]
"""Takes what is wrong with a folder or a note, in words."""


@contextmanager
def left_in(folder: Path) -> Iterator[None]:
    """Make the folder and leave a note in it. Raises Stop where that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        way_out = "do it as the user whose role reads there, or let yours write"
        raise Stop(f"no note can be left in {folder}: {error.strerror}; {way_out}") from error


def unsaid(words: str) -> None:
    """An ``Amiss`` for who only looks."""


def waiting(folder: Path, kind: type[N], amiss: Amiss) -> list[tuple[Path, N | None]]:
    """The notes in a folder, by name; None for a file that is none. What cannot be read is said and left out."""
    try:
        files = sorted(folder / name for name in os.listdir(folder) if name.endswith(".json"))
    except FileNotFoundError:
        return []
    except OSError as error:
        amiss(f"the notes in {folder} cannot be read: {error.strerror}; let the role's user read and write there")
        return []
    found: list[tuple[Path, N | None]] = []
    for file in files:
        try:
            found.append((file, msgspec.json.decode(file.read_bytes(), type=kind)))
        except msgspec.DecodeError:
            found.append((file, None))
        except FileNotFoundError:
            pass  # taken meanwhile
        except OSError as error:
            amiss(f"the note {file} cannot be read: {error.strerror}; mend its mode, or take it away")
    return found


def done_with(take: Callable[[], None], file: Path, amiss: Amiss) -> None:
    """Take a note away. One that stays is said, and found again at the next look."""
    try:
        take()
    except OSError as error:
        amiss(f"the note {file} cannot be taken: {error.strerror}; let the role's user write to {file.parent}")
