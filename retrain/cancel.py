"""A person's order to end a job: a file that the controller picks up, as it does orders to retrain."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from retrain import places
from retrain.whole import write_json
from tidemill.io import notes
from tidemill.io.notes import Amiss, unsaid
from tidemill.settings import Settings

MOST_REASON = 300


class Cancel(Struct, frozen=True, kw_only=True):
    """One job that is to end, and why."""

    job_id: str
    reason: str


def place(settings: Settings, cancel: Cancel) -> Path:
    """Leave the order for the controller; a second one for the same job takes the first one's place. Raises Stop."""
    folder = _folder(settings)
    file = folder / f"{cancel.job_id}.json"
    with notes.left_in(folder):
        write_json(file, cancel)
    return file


def waiting(settings: Settings, amiss: Amiss = unsaid) -> list[tuple[Path, Cancel | None]]:
    """Orders not yet taken; None for a file that is no order."""
    return notes.waiting(_folder(settings), Cancel, amiss)


def _folder(settings: Settings) -> Path:
    return places.orders_dir(settings) / "cancel"
