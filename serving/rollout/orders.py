"""A person's orders to a rollout: files that the controller picks up, as it alone writes the rollouts' log.

An order names one rollout (to ``start``: the version), so one that is read late never touches another, and one that is
read twice is known by its id.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from tidemill.events.lifecycle import OrderAct
from tidemill.settings import Settings

MOST_TEXT = 500


class Order(Struct, frozen=True, kw_only=True):
    """What somebody wants of a rollout."""

    order_id: str
    act: OrderAct
    pipeline: str
    by: str
    reason: str
    time_ms: int
    rollout_id: str = ""
    """Which rollout is meant; empty to start one."""
    version: str = ""
    """Which version to start."""
    at_once: bool = False
    """Promote or start: all traffic now, without the steps between."""
    despite_freeze: bool = False
    """Also in a freeze window."""


def place(settings: Settings, order: Order) -> Path:
    """Leave the order for the controller, whole or not at all."""
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{order.time_ms:013d}-{order.order_id}.json"
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.encode(order))
    unfinished.replace(file)
    return file


def files(settings: Settings) -> list[Path]:
    """Files not yet taken, oldest first. Raises OSError where the folder cannot be read."""
    try:
        return sorted(file for file in _folder(settings).iterdir() if file.suffix == ".json")
    except FileNotFoundError:
        return []


def read(file: Path) -> Order | None:
    """The order; None for a file that is none. Raises OSError where it cannot be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Order)
    except msgspec.DecodeError:
        return None


def waiting(settings: Settings) -> list[tuple[Path, Order | None]]:
    """Orders not yet taken, oldest first; None for a file that is no order, or is not for us to read. Raises OSError
    where the folder cannot be read."""
    return [(file, _known(file)) for file in files(settings)]


def _folder(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "orders" / "rollout"


def _known(file: Path) -> Order | None:
    try:
        return read(file)
    except OSError:
        return None
