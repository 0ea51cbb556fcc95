"""Asks an engine how it is: alive, its figures, what it serves. The routes are vLLM's. Every call blocks for TIMEOUT_S
at most.
"""

from __future__ import annotations

import logging
import os
from typing import Any

import httpx

from streams.host.machine import Figures
from streams.host.scrape import Scraped, figures, scraped
from tidemill.clock import Clock
from tidemill.errors import Retry, without_credentials
from tidemill.settings import Settings

log = logging.getLogger(__name__)
TIMEOUT_S = 5.0


class EngineLook:
    """One engine of kind vllm."""

    def __init__(self, settings: Settings, name: str, clock: Clock) -> None:
        self.name = name
        self._url = settings.engine_url(name).rstrip("/")
        self._root = self._url.removesuffix("/v1")
        key = os.environ.get(settings.engines[name].api_key_env, "") if settings.engines[name].api_key_env else ""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        anew = httpx.Limits(max_keepalive_connections=0)  # whether it takes a new caller is what is asked
        self._http = httpx.Client(headers=headers, timeout=TIMEOUT_S, trust_env=False, limits=anew)
        self._clock = clock
        self._before: Scraped | None = None
        self._without_page = False

    def look(self) -> Figures | None:
        """Its figures now; empty where it shows none (its page is switched off), None where it does not answer."""
        try:
            if self._http.get(self._root + "/health").status_code != 200:
                return None
            answer = self._http.get(self._root + "/metrics")
            now = scraped(answer.text, self._clock.monotonic_s()) if answer.status_code == 200 else None
        except httpx.HTTPError:
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
            answer = self._http.get(self._url + "/models")
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            why = without_credentials(str(error)) or type(error).__name__
            raise Retry(f"engine {self.name} does not say what it serves: {why}") from error
        return found

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()
