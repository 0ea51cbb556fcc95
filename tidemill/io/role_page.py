"""The figures that a role says on its page, for commands and the console."""

from __future__ import annotations

import re

import urllib3

from tidemill.settings import Settings

TIMEOUT_S = 1.0
_SILENCES = re.compile(r"^tidemill_alerts_silences (\S+)$", re.MULTILINE)


def metrics_page(settings: Settings, role: str) -> str:
    """The role's Prometheus page; empty where it is not up, or ``audit.watch`` does not say where. Blocks a second."""
    watch = settings.audit.watch
    url = watch.get(role) if watch else f"http://127.0.0.1:{settings.port(role)}"
    if not url:
        return ""
    try:
        answer = urllib3.request("GET", f"{url.rstrip('/')}/metrics", timeout=TIMEOUT_S, retries=False)
    except urllib3.exceptions.HTTPError:
        return ""
    return answer.data.decode(errors="replace") if answer.status == 200 else ""


def holding_silences(settings: Settings) -> int | None:
    """How many silences and maintenance hold now; None where `alerts` does not say. Blocks a second or so."""
    found = _SILENCES.search(metrics_page(settings, "alerts"))
    return None if found is None else round(float(found[1]))
