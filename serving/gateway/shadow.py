"""Shadow answers: a candidate answers the same call, unseen, at the engine's low priority, never in a client's way."""

from __future__ import annotations

import asyncio
import logging

from serving.gateway.asked import Asked, asked_as
from serving.gateway.board import Board
from serving.gateway.recorder import SHADOWS_DROPPED, Recorder
from serving.gateway.rows import Call, Ending, Server
from serving.gateway.spool import SpoolFull
from serving.gateway.upstream import Answer, Upstream, UpstreamFailed
from serving.router import shadow_for
from serving.versions import Answering
from tidemill.clock import Clock
from tidemill.events import Route, Shadow
from tidemill.ids import uuid7
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
        if not self._board.room_for_shadow(shadow.engine):
            SHADOWS_DROPPED.labels(call.pipeline).inc()
            return
        asked = asked_as(asked, self._answering.by(call.pipeline, shadow.model_version))
        task = asyncio.create_task(self._answer(call, asked, route.epoch, shadow))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def finish(self, within_s: float) -> None:
        """Wait for the answers under way, then end the rest (each with its event)."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=within_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _answer(self, call: Call, asked: Asked, epoch: int, shadow: Shadow) -> None:
        server = Server(
            model_version=shadow.model_version,
            variant="shadow",
            model=shadow.model,
            engine=shadow.engine,
            epoch=epoch,
            reason="shadow",
        )
        answer_id, answer = uuid7(self._clock.now_ms()), Answer(self._clock.monotonic_s())
        ending = Ending(status="cancelled", error_type="gateway_closing", http_status=499)
        try:
            with self._board.in_flight(shadow.engine, shadow.model_version, shadow=True):
                timeout_s = self._settings.pipelines[call.pipeline].timeout_s
                async for _ in self._upstream.chunks(
                    shadow.engine, shadow.model, asked, answer, timeout_s=timeout_s, shadow=True
                ):
                    pass
            ending = Ending(status="ok")
        except UpstreamFailed as error:
            ending = Ending(status=error.status, error_type=error.code or "", http_status=error.http_status)
        finally:
            try:
                self._recorder.response(call, answer_id, server, ending, answer)
            except SpoolFull as error:
                log.warning("a shadow's event is lost: %s", error)
