"""One question to an engine, which may be away, slow or lie: within a deadline, an answer of bounded size, in a loop of
its own, since only there a deadline holds for the whole exchange, however slowly its bytes come.
"""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

import httpx
import msgspec

from tidemill.errors import Retry, without_credentials

MOST_BYTES = 16 * 1024 * 1024
"""A longer answer is none."""


class Answer(NamedTuple):
    """Status and body of an engine's answer."""

    status: int
    body: bytes

    def object(self) -> dict[str, Any]:
        """The JSON object of a good answer. Raises Retry where it is none."""
        if not 200 <= self.status < 300:
            raise Retry(f"status {self.status}")
        try:
            found = msgspec.json.decode(self.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Retry(f"no JSON: {type(error).__name__}") from error
        if not isinstance(found, dict):
            raise Retry("no JSON object")
        return found


class Exchange:
    """Asks with the same headers and deadline. Follows no redirect, keeps no connection."""

    def __init__(self, key: str, within_s: float) -> None:
        self._headers = {"Authorization": f"Bearer {key}"} if key else {}
        self._within_s = within_s
        self._tls = httpx.create_ssl_context(trust_env=False)

    def get(self, url: str) -> Answer:
        """Blocks for the deadline at most. Raises Retry where no whole answer comes."""
        return self._run("GET", url, None)

    def post(self, url: str, body: Any) -> Answer:
        """The same with a JSON body."""
        return self._run("POST", url, body)

    def _run(self, method: str, url: str, body: Any) -> Answer:
        try:
            return asyncio.run(self._ask(method, url, body))
        except TimeoutError as error:
            raise Retry(f"no whole answer within {self._within_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise Retry(without_credentials(str(error)) or type(error).__name__) from error

    async def _ask(self, method: str, url: str, body: Any) -> Answer:
        async with (
            asyncio.timeout(self._within_s),
            httpx.AsyncClient(headers=self._headers, timeout=None, trust_env=False, verify=self._tls) as client,
            client.stream(method, url, json=body) as answer,
        ):
            found = bytearray()
            async for part in answer.aiter_bytes():
                found += part
                if len(found) > MOST_BYTES:
                    raise Retry(f"an answer of more than {MOST_BYTES} bytes")
            return Answer(answer.status_code, bytes(found))
