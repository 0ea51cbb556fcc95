"""Shadow answers: a candidate answers the same call, or the champion once more: unseen, at the engine's low priority,
never in a client's way.
"""

from __future__ import annotations

import asyncio
import logging
from uuid import UUID

import msgspec

from serving.gateway.asked import Asked, asked_again, asked_as
from serving.gateway.board import Board
from serving.gateway.recorder import SHADOWS_DROPPED, Recorder
from serving.gateway.rows import AGAIN, Call, Ending, Server
from serving.gateway.spool import SpoolFull
from serving.gateway.upstream import Answer, Upstream, UpstreamFailed
from serving.router import asked_twice, shadow_for
from serving.versions import Answering
from tidemill.clock import Clock
from tidemill.events import Route
from tidemill.ids import uuid7
from tidemill.scoring import agreement
from tidemill.settings import Settings

log = logging.getLogger(__name__)


class Shadows:
    """Starts shadow answers in the background; ``finish`` waits for those under way."""

    def __init__(self, settings: Settings, board: Board, recorder: Recorder, upstream: Upstream, clock: Clock) -> None:
        self._settings, self._board, self._recorder = settings, board, recorder
        self._upstream, self._clock = upstream, clock
        self._answering = Answering(settings)
        self._tasks: set[asyncio.Task[None]] = set()

    def maybe(self, call: Call, asked: Asked, route: Route) -> None:
        """Start the route's shadow on this call if it is in the sample; drop it (counted) if anything would wait."""
        shadow = shadow_for(route, call.call_id)
        if shadow is None:
            return
        server = Server(
            model_version=shadow.model_version,
            variant="shadow",
            model=shadow.model,
            engine=shadow.engine,
            epoch=route.epoch,
            reason="shadow",
        )
        self._start(call, asked_as(asked, self._answering.by(call.pipeline, shadow.model_version)), server)

    def again(self, call: Call, asked: Asked, server: Server, first: str) -> None:
        """Ask the champion once more if the call is in ``quality.agreement_share``; drop it as a shadow is,
        and leave one of several places to candidates'.

        ``asked``: as it answered ``first``. What comes of it is how far both answers agree; the second one's text is
        forgotten.
        """
        share = self._settings.pipelines[call.pipeline].quality.agreement_share
        if first and server.variant == "champion" and asked_twice(call.pipeline, call.call_id, share):
            unseen = msgspec.structs.replace(server, variant="shadow", reason=AGAIN)
            self._start(call, asked_again(asked, UUID(call.call_id).int % 2**31), unseen, first)

    async def finish(self, within_s: float) -> None:
        """Wait for the answers under way, then end the rest (each with its event)."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _start(self, call: Call, asked: Asked, server: Server, first: str | None = None) -> None:
        if not self._board.room_for_shadow(server.engine, leave=0 if first is None else 1):
            SHADOWS_DROPPED.labels(call.pipeline).inc()
            return
        task = asyncio.create_task(self._answer(call, asked, server, first))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, call: Call, asked: Asked, server: Server, first: str | None) -> None:
        """``first``: what the answer is compared with, off the event loop."""
        answer_id, answer = uuid7(self._clock.now_ms()), Answer(self._clock.monotonic_s())
        ending = Ending(status="cancelled", error_type="gateway_closing", http_status=499)
        pipeline = self._settings.pipelines[call.pipeline]
        try:
            with self._board.in_flight(server.engine, server.model_version, shadow=True):
                async for _ in self._upstream.chunks(
                    server.engine, server.model, asked, answer, timeout_s=pipeline.timeout_s, shadow=True
                ):
                    pass
            ending = Ending(status="ok")
            if first is not None:
                metric, text = pipeline.quality.metric, answer.assembly.text
                answer.agreement = await asyncio.to_thread(agreement, metric, first, text)
        except UpstreamFailed as error:
            ending = Ending(status=error.status, error_type=error.code or "", http_status=error.http_status)
        finally:
            try:
                self._recorder.response(call, answer_id, server, ending, answer)
            except SpoolFull as error:
                log.warning("a shadow's event is lost: %s", error)
