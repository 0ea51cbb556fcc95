"""What becomes of the stack's parts, in lines for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape

from tidemill.clock import Clock
from tidemill.local import lifecycle
from tidemill.local.probes import FIRST_ANSWER


class PartLines:
    """Says of each part once that it is ready, and each time that it goes away and is back."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._ready: set[str] = set()
        self._away_since_s: dict[str, float] = {}

    def line(self, state: Mapping[str, Any]) -> str:
        """What to say of a part's new State (its fields), with rich's markup; empty: nothing."""
        name, phase, reason = str(state["name"]), state["phase"], str(state["reason"])
        shown = f"  {name:<11}"
        if phase in lifecycle.SETTLED and not reason:
            return self._here(name, shown, state)
        if phase == "ready":
            why = "does not answer" if reason == FIRST_ANSWER else f"is not ready: {escape(reason)}"
            return f"{shown} [red]{why}[/red]" if self._leaves(name) else ""
        if phase == "backoff":
            self._leaves(name)
            return f"{shown} [red]{escape(reason)}[/red], starts again soon (log: {escape(str(state['log']))})"
        return ""

    def _here(self, name: str, shown: str, state: Mapping[str, Any]) -> str:
        away_s = self._away_since_s.pop(name, None)
        if name not in self._ready:
            self._ready.add(name)
            return f"{shown} {state['phase']:<5} in {state['started_s'] or 0:6.1f} s  {state['address']}"
        if away_s is None:
            return ""
        return f"{shown} [green]is back[/green] after {self._clock.monotonic_s() - away_s:.0f} s"

    def _leaves(self, name: str) -> bool:
        """Whether it was here until now."""
        if name in self._away_since_s:
            return False
        self._away_since_s[name] = self._clock.monotonic_s()
        return True
