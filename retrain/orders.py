"""A person's order to retrain: a file the controller picks up and decides on.

The controller alone writes the jobs' log, so the command leaves a note in ``<data_dir>/orders`` and the decision (open,
or declined with its reason) appears in the log.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from retrain import places
from retrain.whole import write_json
from tidemill.settings import Settings


class Order(Struct, frozen=True, kw_only=True):
    """One order; its id causes one job, however often it is read."""

    order_id: str
    pipeline: str
    time_ms: int


def place(settings: Settings, order: Order) -> Path:
    """Leave the order for the controller."""
    folder = places.orders_dir(settings)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{order.order_id}.json"
    write_json(file, order)
    return file


def waiting(settings: Settings) -> list[tuple[Path, Order | None]]:
    """Orders not yet taken, oldest first; None for a file that is no order."""
    folder = places.orders_dir(settings)
    return [(file, _read(file)) for file in sorted(folder.glob("*.json"))] if folder.is_dir() else []


def _read(file: Path) -> Order | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=Order)
    except (OSError, msgspec.DecodeError):
        return None
