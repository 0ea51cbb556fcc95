"""Kills roles at chosen moments of a turn, as an unlucky day would; the supervisor brings them back."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from tidemill.events import JobState, RolloutState

MOMENTS: dict[str, str] = {
    "meter": "collecting",
    "gateway": "collecting",
    "streams": "collecting",
    "sink": "training",
    "trainer": "training",
    "retrain": "gating",
    "scorer": "shadow",
    "rollout": "canary",
}
"""The phase of job or rollout in which each role is killed."""


@dataclass(frozen=True)
class Kill:
    """One kill that happened."""

    role: str
    phase: str
    time_ms: int


class Killer:
    """Kills each of ``roles`` once, when its moment has come. ``kill(role)`` sends SIGKILL to a role of the stack."""

    def __init__(self, roles: tuple[str, ...], kill: Callable[[str], object], now_ms: Callable[[], int]) -> None:
        unknown = [role for role in roles if role not in MOMENTS]
        if unknown:
            raise ValueError(f"no moment is known for killing {unknown[0]!r}; choose from {', '.join(MOMENTS)}")
        self._left = list(roles)
        self._kill = kill
        self._now_ms = now_ms
        self.done: list[Kill] = []

    def look(self, job: JobState | None, rollout: RolloutState | None) -> list[Kill]:
        """Kill those whose moment this is; give them back."""
        phases = {state.phase for state in (job, rollout) if state is not None}
        killed = []
        for role in [role for role in self._left if MOMENTS[role] in phases]:
            time_ms = self._now_ms()
            if role == "trainer":
                if job is None or not job.trainer_pid or not _kill_process(job.trainer_pid):
                    continue
            else:
                self._kill(role)
            self._left.remove(role)
            killed.append(Kill(role, MOMENTS[role], time_ms))
        self.done += killed
        return killed


def _kill_process(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
