"""The console role: serves the live page, a page for each alarm, and the evidence reports."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from dashboards.console.feed import Feed
from dashboards.console.hosts import OwnHostOnly, own_names
from dashboards.console.story import gate_file, report_file, told
from tidemill.clock import Clock, SystemClock
from tidemill.errors import Stop, TidemillError
from tidemill.io.clickhouse import Store
from tidemill.io.service import Service
from tidemill.io.silences import SilenceFollower
from tidemill.settings import Settings
from tidemill.silences import Mutes
from tidemill.topics import SILENCES

log = logging.getLogger(__name__)
BEAT_S = 5.0
"""Between two signs of life of the serving loop."""
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; connect-src 'self' ws: wss:; frame-ancestors 'none'"
)
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; "
    "img-src data:; font-src data:"
)
_ALARM_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""An alarm's page shows what users wrote, a report words of others: it runs no script and loads nothing."""

_POLICIES = {
    "/evidence/": _REPORT_POLICY,
    "/alarms/": _ALARM_POLICY,
    "/gate/": _ALARM_POLICY,
    "/approvals/": _ALARM_POLICY.replace("form-action 'none'", "form-action 'self'"),
}
"""By the beginning of a path; all else has _POLICY."""
_NO_REPORT = (
    "no such report (yet): reports are built one after the other, each in a minute or so on an idle machine and in "
    "several on a busy one; with fewer than ten calls on a side of the change there is none"
)


def run(settings: Settings) -> None:
    """Serve the console until SIGTERM. Raises Stop where its port is taken."""
    with Service(settings, "console", port=settings.port("console-health")) as service:
        feed = Feed(settings, service.clock)
        asking = threading.Thread(target=feed.run, args=(service.stop_event,), name="feed", daemon=True)
        asking.start()
        silences = SilenceFollower(settings, SILENCES, "tidemill-console-silences", service.stop_event)
        silences.start()
        asyncio.run(_serve(application(settings, feed, service.clock, lambda: silences.mutes), settings, service))


async def _serve(app: Any, settings: Settings, service: Service) -> None:
    import uvicorn

    host, port = settings.console.host, settings.console_port
    config = uvicorn.Config(app, host=host, port=port, log_level="warning")
    server = uvicorn.Server(config)
    try:
        sockets = [config.bind_socket()]
    except SystemExit as error:
        raise Stop(f"console.port {port} on {host} is taken; choose another, or end the other program") from error
    serving = asyncio.create_task(server._serve(sockets))
    ending = asyncio.create_task(asyncio.to_thread(service.stop_event.wait))
    ended: set[asyncio.Task[Any]] = set()
    while not ended:
        service.ready()
        ended, _ = await asyncio.wait({serving, ending}, timeout=BEAT_S, return_when=asyncio.FIRST_COMPLETED)
    service.stop_event.set()
    server.should_exit = server.force_exit = True
    await serving
    await server.lifespan.shutdown()  # left out of a forced end


def application(
    settings: Settings, feed: Feed, clock: Clock | None = None, mutes: Callable[[], Mutes | None] = lambda: None
) -> Any:
    """The console as an ASGI application; ``mutes`` says what mutes alarms, None: that is not known."""
    from fastapi import FastAPI, HTTPException, Request
    from fastapi.responses import FileResponse, HTMLResponse, Response
    from nicegui import ui

    from dashboards.console import approving, why
    from dashboards.console.page import Page

    app = FastAPI(openapi_url=None)
    app.add_middleware(OwnHostOnly, names=own_names(settings))
    store, clock = Store(settings), clock or SystemClock()

    @app.middleware("http")
    async def policy(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = policy_of(request.url.path)
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    @app.get("/evidence/{alarm_id}")
    def evidence(alarm_id: str) -> FileResponse:
        file = report_file(settings, alarm_id)
        if file is None:
            raise HTTPException(404, _NO_REPORT)
        return FileResponse(file, media_type="text/html")

    @app.get("/alarms/{alarm_id}")
    def alarm(alarm_id: str) -> HTMLResponse:
        try:
            story = told(settings, store, clock, alarm_id, mutes())
        except TidemillError as error:
            log.warning("the store does not answer: %s", error)
            raise HTTPException(503, "the store does not answer; try again in a moment") from error
        if story is None:
            raise HTTPException(404, "nothing is kept of such an alarm (yet): its row lands a few seconds after it")
        return HTMLResponse(why.page(story, settings.deployment))

    approving.add_routes(app, settings, clock, partial(approving.phase_in, store))

    @app.get("/gate/{job_id}")
    def gate(job_id: str) -> FileResponse:
        file = gate_file(settings, job_id)
        if file is None:
            raise HTTPException(404, "no such report (yet): the gate's last step writes it")
        return FileResponse(file, media_type="text/html")

    @ui.page("/")
    async def page() -> None:
        await asyncio.to_thread(feed.fresh)
        Page(feed, clock, settings.deployment, settings.console.refresh_s, mutes)

    ui.run_with(app, title="tidemill", show_welcome_message=False)
    return app


def policy_of(path: str) -> str:
    """The content security policy of a path: what is made of users' words may do least."""
    for beginning, policy in _POLICIES.items():
        if path.startswith(beginning):
            return policy
    return _POLICY
