"""Pipelines that the settings do not know: any producer may name one, so they are counted and said."""

from __future__ import annotations

import logging
from collections.abc import Container, Sequence

from prometheus_client import Counter

log = logging.getLogger(__name__)
SAY_S = 60.0
NAMES = 10
"""So many are named in the log; more than so many different ones are not remembered."""

UNKNOWN = Counter("tidemill_meter_unknown_pipeline_events_total", "events of pipelines that are not in the settings")


class Unknown:
    """Counts events of unknown pipelines, and logs one line a minute while there are any."""

    def __init__(self, known: Container[str]) -> None:
        self._known = known
        self._events = 0
        self._names: set[str] = set()
        self._said_s: float | None = None

    def note(self, pipelines: Sequence[str], now_s: float) -> None:
        """Take in the pipelines of a range's events; ``now_s`` is monotonic."""
        strangers = {name for name in set(pipelines) if name not in self._known}
        if strangers:
            found = sum(name in strangers for name in pipelines)
            UNKNOWN.inc(found)
            self._events += found
            self._names.update(sorted(strangers)[: max(0, NAMES - len(self._names))])
        if self._events and (self._said_s is None or now_s - self._said_s >= SAY_S):
            log.warning(
                "%d events of pipelines that are not in the settings (%s%s): they are measured without quality; "
                "add them under pipelines, or stop their producer",
                self._events,
                ", ".join(sorted(self._names)),
                " …" if len(self._names) == NAMES else "",
            )
            self._said_s, self._events = now_s, 0
            self._names.clear()
