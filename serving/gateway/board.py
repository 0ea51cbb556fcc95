"""What the gateway applies now: the routes in force, and what is in flight where.

Read and changed in the event loop only, so that an epoch and the calls counted under it never disagree.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping

from serving.router import first_route
from tidemill.events import GatewayStatus, Route
from tidemill.settings import Settings


class Board:
    """Routes by pipeline; a pipeline without one is served by the settings' champion. ``known`` once they were read."""

    def __init__(self, settings: Settings) -> None:
        self._first = {name: first_route(settings, name) for name in settings.pipelines}
        self._engines = settings.engines
        self.routes: dict[str, Route] = dict(self._first)
        self.known = False
        self._versions: Counter[str] = Counter()
        self._clients: Counter[str] = Counter()
        self._shadows: Counter[str] = Counter()

    def apply(self, routes: Mapping[str, Route]) -> None:
        """From now on these routes are in force."""
        self.routes = self._first | dict(routes)
        self.known = True

    @contextlib.contextmanager
    def in_flight(self, engine: str, version: str, *, shadow: bool = False) -> Iterator[None]:
        """Count one answer while it is being made."""
        by_engine = self._shadows if shadow else self._clients
        self._versions[version] += 1
        by_engine[engine] += 1
        try:
            yield
        finally:
            self._versions[version] -= 1
            by_engine[engine] -= 1

    def room_for_shadow(self, engine: str, leave: int = 0) -> bool:
        """Whether a shadow may ask the engine now: no client waits for one. ``leave``: places of several that are not
        for this one."""
        limits, shadows = self._engines[engine], self._shadows[engine]
        most = limits.max_shadow_in_flight
        return shadows < max(min(most, 1), most - leave) and self._clients[engine] + shadows < limits.client_slots

    def status(self, gateway_id: str, now_ms: int, spool_pending: int) -> GatewayStatus:
        """What the rollout controller is told each second."""
        return GatewayStatus(
            gateway_id=gateway_id,
            time_ms=now_ms,
            epochs={name: route.epoch for name, route in self.routes.items()},
            in_flight={version: count for version, count in self._versions.items() if count > 0},
            spool_pending=spool_pending,
        )
