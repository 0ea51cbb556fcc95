"""A person's order to retrain: a file the controller picks up and decides on.

The controller alone writes the jobs' log, so the command leaves a note in ``<data_dir>/orders`` and the decision (open,
or declined with its reason) appears in the log.
"""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from retrain import places
from retrain.whole import write_json
from tidemill.io import notes
from tidemill.io.notes import Amiss, unsaid
from tidemill.settings import Settings


class Order(Struct, frozen=True, kw_only=True):
    """One order; its id causes one job, however often it is read."""

    order_id: str
    pipeline: str
    time_ms: int


def place(settings: Settings, order: Order) -> Path:
    """Leave the order for the controller. Raises Stop."""
    folder = places.orders_dir(settings)
    file = folder / f"{order.order_id}.json"
    with notes.left_in(folder):
        write_json(file, order)
    return file


def waiting(settings: Settings, amiss: Amiss = unsaid) -> list[tuple[Path, Order | None]]:
    """Orders not yet taken, by their ids; None for a file that is no order."""
    return notes.waiting(places.orders_dir(settings), Order, amiss)
