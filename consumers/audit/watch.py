"""Watching the roles: how long each has given no sign of life, by its own health page."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import urllib3

from consumers.audit.alarms import silent
from tidemill.clock import Clock
from tidemill.roles import ROLES
from tidemill.settings import Settings
from tidemill.settings.model import PORTS
from tidemill.troubles import Trouble

TIMEOUT_S = 2.0
_NOT_WATCHED = ("store", "audit")
_SILENT = re.compile(r"^tidemill_role_silent_seconds (\S+)$", re.MULTILINE)


class Watched(NamedTuple):
    """A role's page, and whether it counts as silent before it was heard of at all."""

    url: str
    expected: bool


def watched(settings: Settings) -> dict[str, Watched]:
    """The roles to watch: those of ``audit.watch``, or the embedded stack's, of which some may not run here."""
    if settings.audit.watch:
        return {role: Watched(url.rstrip("/"), expected=True) for role, url in settings.audit.watch.items()}
    ports = {role: settings.port(f"{role}-health" if f"{role}-health" in PORTS else role) for role in ROLES}
    return {
        role: Watched(f"http://127.0.0.1:{port}", expected=False)
        for role, port in ports.items()
        if role not in _NOT_WATCHED
    }


class Watch:
    """Remembers when each role was last alive; ``look`` asks them all."""

    def __init__(self, roles: Mapping[str, Watched], stale_s: float, clock: Clock, known: set[str]) -> None:
        """``known``: roles with an open alarm, so they have been heard of before."""
        self._roles = roles
        self._stale_s = stale_s
        self._clock = clock
        self._pool = urllib3.PoolManager(retries=False, timeout=TIMEOUT_S)
        now_s = clock.monotonic_s()
        self._alive_s: dict[str, float] = {
            role: now_s - (stale_s + 1 if role in known else 0)  # an alarm stays until the role is heard
            for role, watched in roles.items()
            if watched.expected or role in known
        }

    def look(self) -> list[Trouble]:
        """Ask every role. Blocks, two seconds at most for each that does not answer."""
        found = []
        for role, page in self._roles.items():
            silent_s = self._silent_s(page.url)
            now_s = self._clock.monotonic_s()
            if silent_s is not None:
                self._alive_s[role] = now_s - silent_s
            elif role not in self._alive_s:
                continue
            since_s = now_s - self._alive_s[role]
            if since_s > self._stale_s:
                why = "does not answer" if silent_s is None else "its loop stands still"
                found.append(silent(role, since_s, self._stale_s, self._clock.now_ms(), why))
        return found

    def _silent_s(self, url: str) -> float | None:
        """What the role says of its loop; None when it does not answer."""
        try:
            answer = self._pool.request("GET", f"{url}/metrics")
        except urllib3.exceptions.HTTPError:
            return None
        said = _SILENT.search(answer.data.decode(errors="replace"))
        return float(said[1]) if answer.status == 200 and said is not None else None
