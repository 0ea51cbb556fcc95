"""Which gateways are live: by when they were heard here, not by their clocks; nothing is said before there was time."""

from __future__ import annotations

from tidemill.events import GatewayStatus

LIVE_S = 5.0
"""A gateway heard within this time is live."""


class Audience:
    """Call ``heard`` for each status, then ``looked`` once all that came are taken in. Times are a monotonic clock's.

    Liveness holds as of the last look: a caller that was busy for long since does not take everybody for gone.
    """

    def __init__(self) -> None:
        self._statuses: dict[str, tuple[GatewayStatus, float]] = {}
        self._since_s: float | None = None
        self._looked_s = 0.0

    def heard(self, status: GatewayStatus, now_s: float) -> None:
        """Take in what a gateway says of itself."""
        self._statuses[status.gateway_id] = (status, now_s)

    def looked(self, now_s: float, *, contact: bool) -> None:
        """Everything up to now is taken in. Without ``contact`` to Kafka or after a pause, following begins anew."""
        if not contact:
            self._since_s = None
            return
        if self._since_s is None or now_s - self._looked_s > LIVE_S:
            self._since_s = now_s
        self._looked_s = now_s
        if now_s - self._since_s >= LIVE_S:
            recent = {name: kept for name, kept in self._statuses.items() if now_s - kept[1] <= LIVE_S}
            self._statuses = recent

    def silent_s(self, now_s: float) -> float:
        """How long nobody was heard, seconds; infinite where nobody was within the last LIVE_S."""
        return min((now_s - at_s for _, at_s in self._statuses.values()), default=float("inf"))

    def live(self) -> list[GatewayStatus] | None:
        """The live gateways' last words; None while they have not been followed long enough to know them all."""
        if self._since_s is None or self._looked_s - self._since_s < LIVE_S:
            return None
        return [status for status, _ in self._statuses.values()]
