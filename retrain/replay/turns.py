"""What a replayed policy did, and how long a retraining takes in it. Values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Turn(NamedTuple):
    """How long a retraining takes."""

    train_ms: int
    """From the end of collecting to the gate's verdict: what the GPU is paid for."""
    takeover_ms: int
    """From there until the candidate serves everybody."""


class Triggered(NamedTuple):
    """One training that the policy started."""

    start_ms: int
    fall: int | None
    """The fall it answers; None: there was none, and the gate rejects the candidate."""
    drift: bool = False
    """A notice of drift alone opened it."""


@dataclass
class Run:
    """What a policy did."""

    alarms: list[int] = field(default_factory=list)
    """When alarms on quality began."""
    notices: int = 0
    """Notices of drift that it was told of."""
    triggered: list[Triggered] = field(default_factory=list)
    given_up: int = 0
    """Collections that ended without enough labels."""
    cancelled: int = 0
    """Collections that ended as quality came back by itself."""
