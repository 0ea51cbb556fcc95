"""Asks an engine for one answer, always as a stream, and says precisely how it failed.

Streaming upstream also for plain calls costs little and gives every answer its time to first token.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp
import msgspec

from serving.engines import api_key
from serving.gateway.asked import Asked
from serving.gateway.assembly import Assembly
from serving.gateway.errors import CallError
from tidemill.clock import Clock
from tidemill.events.types import Status
from tidemill.settings import Settings

SHADOW_PRIORITY = 10
"""vLLM answers lower numbers first; clients have 0."""
_KEEP_ALIVE_S = 4.0
"""Below the engine's own (5 s): a connection is ours to drop before it is theirs."""


class UpstreamFailed(CallError):
    """The engine gave no (whole) answer. ``status`` is what the answer's event says."""

    def __init__(
        self,
        status: Status,
        http_status: int,
        code: str,
        message: str,
        *,
        kind: str = "server_error",
        missing: bool = False,
    ) -> None:
        super().__init__(http_status, kind, message, code=code)
        self.status = status
        self.model_missing = missing


class Answer:
    """One answer as far as it has come: its content and the moments that matter, in monotonic seconds."""

    def __init__(self, arrived_s: float) -> None:
        self.arrived_s = arrived_s
        self.assembly = Assembly()
        self.asked_s: float | None = None
        self.first_s: float | None = None
        self.last_s: float | None = None
        self.agreement: float | None = None
        """How far it says the same as the answer before, in [0, 1], where the call was asked twice."""

    @property
    def queue_ms(self) -> float | None:
        """From arrival until the engine was asked."""
        return None if self.asked_s is None else (self.asked_s - self.arrived_s) * 1000

    @property
    def ttft_ms(self) -> float | None:
        """From arrival to the first piece of the answer."""
        return None if self.first_s is None else (self.first_s - self.arrived_s) * 1000

    @property
    def tpot_ms(self) -> float | None:
        """Per token after the first; None with fewer than two."""
        tokens = self.assembly.output_tokens
        if self.first_s is None or self.last_s is None or tokens is None or tokens < 2:
            return None
        return (self.last_s - self.first_s) * 1000 / (tokens - 1)


class Upstream:
    """All engines' connections. Make it inside the event loop; ``close`` it."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._settings, self._clock = settings, clock
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=5),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=True,
        )
        self._headers = {
            name: {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
            for name, key in ((name, api_key(engine, name)) for name, engine in settings.engines.items())
        }

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    async def chunks(
        self, engine: str, model: str, asked: Asked, answer: Answer, *, timeout_s: float, shadow: bool = False
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The answer's chunks as they come; ``answer`` knows all of it. Ends normally only when it is whole.

        ``timeout_s`` counts from arrival. Raises UpstreamFailed.
        """
        loop = asyncio.get_running_loop()
        left_s = timeout_s - (self._clock.monotonic_s() - answer.arrived_s)
        whole_by = loop.time() + left_s
        first_by = loop.time() + min(left_s, self._settings.gateway.ttft_timeout_s)
        body: dict[str, Any] = {"model": model, **asked.upstream}
        if self._settings.engines[engine].kind == "vllm" and shadow:
            body["priority"] = SHADOW_PRIORITY
        try:
            async with asyncio.timeout_at(first_by):
                response = await self._post(engine, msgspec.json.encode(body), asked.headers, answer)
            async with response:
                if response.status != 200:
                    async with asyncio.timeout_at(first_by):
                        raise _refusal(response.status, model, await response.content.read(65_536))
                buffer = bytearray()
                while True:
                    async with asyncio.timeout_at(whole_by if answer.first_s is not None else first_by):
                        data = await response.content.readany()
                    if not data:
                        raise UpstreamFailed(
                            "error", 502, "upstream_cut", "The engine ended in the middle of an answer."
                        )
                    buffer += data
                    for event in take_events(buffer):
                        if event == b"[DONE]":
                            return
                        chunk = self._chunk(event, answer)
                        yield without_logprobs(chunk) if asked.hide_logprobs else chunk
        except TimeoutError as error:
            if answer.first_s is None:
                message = "The engine did not begin to answer in time."
                raise UpstreamFailed("timeout", 504, "timeout_first_token", message) from error
            message = f"The answer took longer than {timeout_s:g} s."
            raise UpstreamFailed("timeout", 504, "timeout", message) from error
        except (aiohttp.ClientError, OSError) as error:
            if answer.first_s is not None:
                message = "The engine's connection broke in the middle of an answer."
                raise UpstreamFailed("error", 502, "upstream_cut", message) from error
            raise UpstreamFailed("error", 502, "upstream_unreachable", "The engine cannot be reached.") from error

    async def _post(self, engine: str, body: bytes, told: dict[str, str], answer: Answer) -> aiohttp.ClientResponse:
        url = f"{self._settings.engine_url(engine)}/chat/completions"
        headers = told | self._headers[engine] if told else self._headers[engine]
        answer.asked_s = self._clock.monotonic_s()
        try:
            return await self._http.post(url, data=body, headers=headers, allow_redirects=False)
        except aiohttp.ServerDisconnectedError:  # a kept connection that the engine closed just now
            return await self._http.post(url, data=body, headers=headers, allow_redirects=False)

    def _chunk(self, event: bytes, answer: Answer) -> dict[str, Any]:
        try:
            chunk = msgspec.json.decode(event, type=dict[str, Any])
        except msgspec.MsgspecError as error:
            raise UpstreamFailed("error", 502, "upstream_invalid", "The engine sent something unreadable.") from error
        if "error" in chunk:
            raise _refusal(500, "", event)
        if answer.assembly.add(chunk):
            answer.last_s = self._clock.monotonic_s()
            if answer.first_s is None:
                answer.first_s = answer.last_s
        return chunk


def without_logprobs(answer: dict[str, Any]) -> dict[str, Any]:
    """A chunk or a whole answer whose choices say no log-probabilities, changed in place."""
    for choice in answer.get("choices") or ():
        if "logprobs" in choice:
            choice["logprobs"] = None
    return answer


def take_events(buffer: bytearray) -> list[bytes]:
    """Take the complete server-sent events out of ``buffer``; give back their data."""
    found = []
    while (end := buffer.find(b"\n\n")) >= 0 or (end := buffer.find(b"\r\n\r\n")) >= 0:
        block = bytes(buffer[:end])
        del buffer[: end + (2 if buffer[end : end + 2] == b"\n\n" else 4)]
        lines = [line[5:].strip() for line in block.splitlines() if line.startswith(b"data:")]
        if lines:
            found.append(b"\n".join(lines))
    return found


def _refusal(status: int, model: str, body: bytes) -> UpstreamFailed:
    """What an engine's error answer means for this call."""
    try:
        error = msgspec.json.decode(body)["error"]
        message, kind = str(error["message"])[:1000], str(error.get("type") or "invalid_request_error")
    except (msgspec.MsgspecError, KeyError, TypeError, AttributeError):
        message, kind = "", "invalid_request_error"
    if status == 404:
        said = "The model is not loaded right now; try again."
        return UpstreamFailed("error", 503, "model_not_loaded", said, missing=True)
    if status in (401, 403):
        return UpstreamFailed("error", 502, "upstream_refused_key", "The engine refuses the gateway's key.")
    if status in (408, 429, 503):
        return UpstreamFailed("error", 503, "upstream_overloaded", "The engine is overloaded; try again.")
    if 400 <= status < 500:
        hidden = message.replace(model, "the model") if model else message  # clients do not see their arm
        return UpstreamFailed("rejected", status, "upstream_rejected", hidden, kind=kind)
    return UpstreamFailed("error", 502, f"upstream_{status}", "The engine failed.")
