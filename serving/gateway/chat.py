"""``POST /v1/chat/completions``: from a client's request to its answer, with an event for each outcome.

1. Who calls, which pipeline, which session → which arm.
2. The request's event is appended. Then the engine is asked; a missing model is asked for once more at the champion.
3. The end, whatever it is, is appended *before* the client gets the last byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from serving.gateway import http
from serving.gateway.asked import Asked, asked_as, decode_body, parse, session_of, sliced_by
from serving.gateway.auth import Keys
from serving.gateway.board import Board
from serving.gateway.errors import CallError, invalid, unavailable, where
from serving.gateway.recorder import IN_FLIGHT, Recorder
from serving.gateway.rows import Call, Ending, Server, slices_of
from serving.gateway.shadow import Shadows
from serving.gateway.spool import SpoolFull
from serving.gateway.upstream import Answer, Upstream, UpstreamFailed, without_logprobs
from serving.router import pick_arm
from serving.versions import Answering
from tidemill.clock import Clock
from tidemill.events import Arm, Route
from tidemill.ids import CompletionIds, Routing, uuid7
from tidemill.language import language_of
from tidemill.settings import Settings

log = logging.getLogger(__name__)
CLIENT_LEFT = Ending(status="cancelled", error_type="client_left", http_status=499)
_DONE = b"data: [DONE]\n\n"


class Chat:
    """The endpoint, an ASGI application."""

    def __init__(
        self,
        settings: Settings,
        *,
        keys: Keys,
        board: Board,
        recorder: Recorder,
        upstream: Upstream,
        shadows: Shadows,
        completion_ids: CompletionIds,
        clock: Clock,
        closing: Callable[[], bool],
    ) -> None:
        self._settings, self._keys, self._board, self._recorder = settings, keys, board, recorder
        self._upstream, self._shadows, self._ids, self._clock = upstream, shadows, completion_ids, clock
        self._closing = closing
        self._answering = Answering(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        arrived_s, time_ms = self._clock.monotonic_s(), self._clock.now_ms()
        try:
            self._keys.check(http.header(scope, b"authorization"))
            body = await http.read_json_body(scope, receive, self._settings.gateway.max_body_bytes)
            self._admit()
            asked = decode_body(body)
            call = self._call(scope, asked, time_ms, arrived_s)
        except CallError as error:
            await http.answer_error(send, error)
            return
        with IN_FLIGHT.labels(call.pipeline).track_inprogress():
            await self._serve(call, asked, receive, send)

    def _admit(self) -> None:
        if self._closing():
            raise unavailable("This gateway is going down; ask another.", "gateway_closing")
        if not self._board.known:
            raise unavailable("The gateway has not read its routes yet (Kafka is away).", "routes_unknown")
        if not self._recorder.has_room:
            raise unavailable(
                "The gateway's event file is full because Kafka has been away too long (gateway.spool_bytes).",
                "spool_full",
            )

    def _call(self, scope: Scope, body: dict[str, Any], time_ms: int, arrived_s: float) -> Call:
        pipeline = body.get("model")
        if not isinstance(pipeline, str) or pipeline not in self._settings.pipelines:
            known = ", ".join(self._settings.pipelines)
            message = f"The model {pipeline!r} does not exist; this gateway serves: {known}."
            raise invalid(message[:500], param="model", code="model_not_found", http_status=404)
        tenant = http.header(scope, b"x-tenant-id").decode("latin-1")
        if len(tenant) > 128:
            raise invalid("The header X-Tenant-Id may have at most 128 characters.")
        call_id = uuid7(time_ms)
        session = session_of(http.header(scope, b"x-session-id").decode("latin-1"), body, call_id)
        return Call(
            call_id=call_id,
            time_ms=time_ms,
            arrived_s=arrived_s,
            pipeline=pipeline,
            session=session,
            tenant=tenant,
            sliced=sliced_by(body.get("metadata"), self._settings.pipelines[pipeline]),
        )

    async def _serve(self, call: Call, body: dict[str, Any], receive: Receive, send: Send) -> None:
        route = self._board.routes[call.pipeline]
        arm = pick_arm(route, call.session)
        reason = "weights" if len(route.arms) > 1 else route.reason or "only"
        serving = _Serving(self, call, route, _server(arm, route, reason), send)
        try:
            try:
                asked = parse(body, self._answering.by(call.pipeline, arm.model_version))
            except CallError as error:
                self._recorder.request(call, None, arm.model_version)
                serving.end(Ending(status="rejected", error_type=error.event_type, http_status=error.http_status))
                raise
            call = serving.understood(asked)
            self._recorder.request(call, asked, arm.model_version)
            async with http.UntilGone(receive) as client:
                try:
                    await serving.answer(asked, arm)
                except asyncio.CancelledError:
                    serving.end(CLIENT_LEFT)
                    if not client.gone:
                        raise
                except http.ClientStalled:
                    serving.end(CLIENT_LEFT)
        except SpoolFull as error:
            refusal = unavailable("The gateway cannot keep the call's event; it is refused.", "spool_full")
            refusal.__cause__ = error
            await serving.fail(refusal)
        except CallError as error:
            await serving.fail(error)
        except Exception as error:
            log.error("a call failed inside the gateway: %s", where(error), extra={"call_id": call.call_id})
            serving.end(Ending(status="error", error_type="internal_error", http_status=500))
            await serving.fail(CallError(500, "server_error", "The gateway failed.", code="internal_error"))


class _Serving:
    """One call being answered."""

    def __init__(self, chat: Chat, call: Call, route: Route, server: Server, send: Send) -> None:
        self._chat, self._call, self._route, self._server, self._send = chat, call, route, server, send
        self._answer = Answer(call.arrived_s)
        self._begun = self._ended = False

    def understood(self, asked: Asked) -> Call:
        """The call with what its texts tell; so they are its answers' from now on."""
        self._call = msgspec.structs.replace(self._call, input_language=language_of(asked.users_texts))
        return self._call

    def end(self, ending: Ending) -> None:
        """Append the answer's event; only the first end counts."""
        if not self._ended:
            self._ended = True
            self._chat._recorder.response(self._call, self._call.call_id, self._server, ending, self._answer)

    def _end_well(self, asked: Asked) -> None:
        """The answer is whole: append that; it may be compared with another one, which nobody waits for."""
        self.end(Ending(status="ok"))
        self._chat._shadows.again(self._call, asked, self._server, self._answer.assembly.text)

    async def answer(self, asked: Asked, arm: Arm) -> None:
        """Ask the arm; if it has no such model, the champion."""
        self._chat._shadows.maybe(self._call, asked, self._route)
        champion = self._route.champion
        try:
            try:
                await self._from(arm, asked)
            except UpstreamFailed as error:
                if not error.model_missing or (arm.engine, arm.model) == (champion.engine, champion.model):
                    raise
                self._server = _server(champion, self._route, f"fallback: {arm.model_version} not loaded")
                self._answer = Answer(self._call.arrived_s)
                answering = self._chat._answering.by(self._call.pipeline, champion.model_version)
                await self._from(champion, asked_as(asked, answering))
        except UpstreamFailed as error:
            self.end(Ending(status=error.status, error_type=error.code or "", http_status=error.http_status))
            raise

    async def fail(self, error: CallError) -> None:
        """Tell the client: as an answer, or inside the stream that has begun (which then has no end mark)."""
        if self._begun:
            with contextlib.suppress(http.ClientStalled):
                await http.write(self._send, b"data: " + error.body() + b"\n\n", last=True)
        else:
            await http.answer_error(self._send, error, headers=self._headers())

    async def _from(self, arm: Arm, asked: Asked) -> None:
        call, chat = self._call, self._chat
        with chat._board.in_flight(arm.engine, arm.model_version):
            timeout_s = chat._settings.pipelines[call.pipeline].timeout_s
            source = chat._upstream.chunks(arm.engine, arm.model, asked, self._answer, timeout_s=timeout_s)
            async with contextlib.aclosing(source) as chunks:
                if asked.stream:
                    await self._stream(chunks, asked)
                else:
                    async for _ in chunks:
                        pass
        if not asked.stream:
            self._end_well(asked)
            await http.answer(self._send, 200, self._whole(asked), headers=self._headers())

    async def _stream(self, chunks: AsyncIterator[dict[str, Any]], asked: Asked) -> None:
        """Pass chunks on as they come; what tells the end is held back until the event is kept."""
        identity = {"id": self._completion_id(), "model": self._call.pipeline}
        held: list[bytes] = []
        async for chunk in chunks:
            if not chunk.get("choices") and not asked.include_usage:
                continue
            data = b"data: " + msgspec.json.encode(chunk | identity) + b"\n\n"
            if held or self._answer.assembly.finished(asked.choices):
                held.append(data)
                continue
            await self._start_stream()
            await http.write(self._send, data)
        await self._start_stream()
        self._end_well(asked)
        await http.write(self._send, b"".join(held) + _DONE, last=True)

    async def _start_stream(self) -> None:
        if not self._begun:
            self._begun = True
            headers = [(b"cache-control", b"no-cache"), *self._headers()]
            await http.begin(self._send, 200, kind=http.EVENT_STREAM, headers=headers)

    def _whole(self, asked: Asked) -> bytes:
        assembly = self._answer.assembly
        whole = {
            "id": self._completion_id(),
            "object": "chat.completion",
            "created": assembly.created or self._call.time_ms // 1000,
            "model": self._call.pipeline,
            "choices": assembly.choices,
            "usage": assembly.usage,
        }
        return msgspec.json.encode(without_logprobs(whole) if asked.hide_logprobs else whole)

    def _completion_id(self) -> str:
        call, server = self._call, self._server
        slices = slices_of(call, self._chat._answering.by(call.pipeline, server.model_version))
        routing = Routing(call.call_id, call.pipeline, server.model_version, server.variant, call.time_ms, slices)
        return self._chat._ids.make(routing)

    def _headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-request-id", self._call.call_id.encode())]


def _server(arm: Arm, route: Route, reason: str) -> Server:
    return Server(
        model_version=arm.model_version,
        variant=arm.variant,
        model=arm.model,
        engine=arm.engine,
        epoch=route.epoch,
        reason=reason,
    )
