"""Whether each alarm of a run explains itself on the console: it has its page, and its evidence stands there."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable, Sequence

from tidemill.events import ThresholdEvent
from tidemill.settings import Settings

WITHIN_S = 300.0
"""How long at most pages are waited for: evidence is built one alarm after the other, behind everything else."""
FOUND = '<p class="answer">'
"""What the page has where there is evidence (dashboards/console/alarm.html)."""


def unexplained(
    settings: Settings,
    alarms: Sequence[ThresholdEvent],
    wait: Callable[[float], object],
    *,
    within_s: float = WITHIN_S,
) -> list[ThresholdEvent]:
    """Those that do not explain themselves. Blocks until there are none, or time is up."""
    left = list(alarms)
    end_s = time.monotonic() + within_s
    while left := [event for event in left if not explains(event, _page(settings, event.data.alarm_id))]:
        if time.monotonic() >= end_s:
            break
        wait(2.0)
    return left


def explains(event: ThresholdEvent, page: str | None) -> bool:
    """Whether that page, if there is one, explains the alarm. Those on the deployment itself (kind ``system``) have no
    evidence by design.
    """
    return page is not None and (event.data.kind == "system" or FOUND in page)


def _page(settings: Settings, alarm_id: str) -> str | None:
    url = f"http://127.0.0.1:{settings.console_port}/alarms/{alarm_id}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            page: str = answer.read().decode()
            return page
    except OSError:
        return None
