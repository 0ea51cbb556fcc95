"""A person's order to end a rollout: a file the controller picks up, as it alone writes the rollouts' log.

An order names one rollout: read late or twice, it never touches another.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
from msgspec import Struct

from tidemill.settings import Settings

MOST_REASON = 500


class RollbackOrder(Struct, frozen=True, kw_only=True):
    """End ``rollout_id`` and go back to its champion."""

    rollout_id: str
    reason: str


def place(settings: Settings, order: RollbackOrder) -> Path:
    """Leave the order for the controller, whole or not at all."""
    folder = _folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{order.rollout_id}.json"
    unfinished = file.with_name(f"{file.name}.{os.getpid()}")
    unfinished.write_bytes(msgspec.json.encode(order))
    unfinished.replace(file)
    return file


def waiting(settings: Settings) -> list[tuple[Path, RollbackOrder | None]]:
    """Orders not yet taken; None for a file that is no order."""
    folder = _folder(settings)
    return [(file, _read(file)) for file in sorted(folder.glob("*.json"))] if folder.is_dir() else []


def _folder(settings: Settings) -> Path:
    return settings.data_dir.absolute() / "orders" / "rollout"


def _read(file: Path) -> RollbackOrder | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=RollbackOrder)
    except (OSError, msgspec.DecodeError):
        return None
