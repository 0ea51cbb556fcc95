"""Asks an engine how it is: alive, its figures, what it serves. The routes are vLLM's. Every call blocks for TIMEOUT_S
at most.
"""

from __future__ import annotations

import logging
from typing import Any

from streams.host.exchange import Exchange
from streams.host.machine import Figures
from streams.host.scrape import Scraped, figures, scraped
from tidemill.clock import Clock
from tidemill.errors import Retry
from tidemill.settings import Settings
from tidemill.settings.keys import engine_key

log = logging.getLogger(__name__)
TIMEOUT_S = 5.0


class EngineLook:
    """One engine of kind vllm."""

    def __init__(self, settings: Settings, name: str, clock: Clock) -> None:
        self.name = name
        self._url = settings.engine_url(name).rstrip("/")
        self._root = self._url.removesuffix("/v1")
        self._http = Exchange(engine_key(settings.engines[name], name), TIMEOUT_S)
        self._clock = clock
        self._before: Scraped | None = None
        self._without_page = False

    def look(self) -> Figures | None:
        """Its figures now; empty where it shows none (its page is switched off), None where it does not answer."""
        try:
            if self._http.get(self._root + "/health").status != 200:
                return None
            answer = self._http.get(self._root + "/metrics")
            page = answer.body.decode(errors="replace")
            now = scraped(page, self._clock.monotonic_s()) if answer.status == 200 else None
        except Retry:
            return None
        except ValueError as error:
            now = None
            log.debug("engine %s: no figures: %s", self.name, error)
        if now is None or not now.values:
            if not self._without_page:
                log.info("no figures of engine %s: its /metrics shows none of vLLM's", self.name)
            self._without_page, self._before = True, None
            return {}
        found, self._before, self._without_page = figures(now, self._before), now, False
        return found

    def models(self) -> dict[str, Any]:
        """Its ``/v1/models``. Raises Retry when it does not say."""
        try:
            return self._http.get(self._url + "/models").object()
        except Retry as error:
            raise Retry(f"engine {self.name} does not say what it serves: {error}") from error
