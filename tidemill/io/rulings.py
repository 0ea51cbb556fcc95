"""A person's word on a candidate that waits for approval: a file that the retrain role takes.

The controller alone writes the jobs' log, so console and command leave a note in ``<data_dir>/orders/rulings``. There
is one note a job, and it stays, taken: a second word is refused.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from tidemill.io import notes
from tidemill.io.notes import Amiss, unsaid
from tidemill.settings import Settings

MOST_TEXT = 300


class Ruling(Struct, frozen=True, kw_only=True):
    """One decision; ``by`` and ``why`` are what the person says."""

    job_id: str
    approved: bool
    by: str = ""
    why: str = ""


def place(settings: Settings, ruling: Ruling) -> bool:
    """Leave the note; False where the job has one already. The note is there whole or not at all. Raises
    Stop where none can be left.
    """
    folder = _folder(settings)
    file = folder / f"{ruling.job_id}.json"
    unfinished = folder / f"{ruling.job_id}.{os.getpid()}.part"
    with notes.left_in(folder):
        if file.with_suffix(".taken").exists():
            return False
        unfinished.write_bytes(msgspec.json.encode(ruling))
        try:
            os.link(unfinished, file)  # fails where there is one, unlike a rename
        except FileExistsError:
            return False
        finally:
            unfinished.unlink()
    return True


def waiting(settings: Settings, amiss: Amiss = unsaid) -> list[tuple[Path, Ruling | None]]:
    """Notes not yet taken; None for a file that is none."""
    return notes.waiting(_folder(settings), Ruling, amiss)


def take(file: Path) -> None:
    """It has been acted on. May be repeated."""
    if file.exists():
        file.rename(file.with_suffix(".taken"))


def _folder(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "orders" / "rulings"
