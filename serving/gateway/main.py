"""The gateway's process: ``tidemill run gateway``."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket

from confluent_kafka import KafkaException, Producer
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server as Granian
from starlette.types import ASGIApp

from serving.gateway.app import make_app
from serving.gateway.auth import Keys
from serving.gateway.board import Board
from serving.gateway.chat import Chat
from serving.gateway.drain import Drainer
from serving.gateway.feedback import FeedbackEndpoint
from serving.gateway.recorder import Recorder
from serving.gateway.routes import RouteFollower
from serving.gateway.shadow import Shadows
from serving.gateway.spool import Spool
from serving.gateway.upstream import Upstream
from tidemill.clock import Clock, SystemClock
from tidemill.codec import encode
from tidemill.errors import Stop
from tidemill.events import Route
from tidemill.ids import CompletionIds, derived_id, uuid7
from tidemill.io import kafka
from tidemill.io.secrets import audit_keys, gateway_keys, routing_key
from tidemill.io.service import Service
from tidemill.settings import Settings
from tidemill.topics import GATEWAYS

log = logging.getLogger(__name__)
STATUS_EVERY_S = 1.0
CONNECTIONS = 4096
"""How many clients may be connected, idle ones too; the others wait."""
SPARE_FILES = 512
"""Open files for all else: Kafka's connections, the spool, libraries."""
FINISH_S = 20.0
"""How long calls under way may take after SIGTERM."""
DRAIN_S = 10.0
"""How long the spool is drained after them; the rest goes out after the next start."""


def run(settings: Settings) -> None:
    """Serve until SIGTERM; then finish what is under way, drain, end."""
    clock = SystemClock()
    keys = Keys(gateway_keys(settings) if settings.gateway.auth == "keys" else None, audit_keys(settings))
    completion_ids = CompletionIds(routing_key(settings))
    _check_port(settings)
    folder = settings.data_dir / "gateway"
    with Service(settings, "gateway", clock=clock, port=settings.port("gateway-health")) as service:
        spool = Spool(
            folder / "spool", settings.gateway.spool_bytes, new_id=lambda: derived_id("gateway", uuid7(clock.now_ms()))
        )
        drainer = Drainer(settings, spool)
        drainer.start()
        try:
            asyncio.run(_serve(settings, service, keys, completion_ids, spool, drainer, clock))
        finally:
            if not drainer.stop(DRAIN_S):
                log.warning("events stay in the spool for the next start", extra={"pending": spool.pending_records})


async def _serve(
    settings: Settings,
    service: Service,
    keys: Keys,
    completion_ids: CompletionIds,
    spool: Spool,
    drainer: Drainer,
    clock: Clock,
) -> None:
    loop = asyncio.get_running_loop()
    board, recorder, upstream = Board(settings), Recorder(settings, spool, clock), Upstream(settings, clock)
    shadows = Shadows(settings, board, recorder, upstream, clock)

    def closing() -> bool:
        return service.stopping

    chat = Chat(
        settings,
        keys=keys,
        board=board,
        recorder=recorder,
        upstream=upstream,
        shadows=shadows,
        completion_ids=completion_ids,
        clock=clock,
        closing=closing,
    )
    feedback = FeedbackEndpoint(
        settings, keys=keys, recorder=recorder, completion_ids=completion_ids, clock=clock, closing=closing
    )

    def in_force(routes: dict[str, Route]) -> None:
        board.apply(routes)
        say_readiness(service, board, drainer)

    follower = RouteFollower(
        settings, settings.data_dir / "gateway" / "routes.json", lambda r: _in_loop(loop, in_force, r)
    )
    service.waiting("the routes topic to be read to its end")
    follower.start()
    server = http_server(settings, make_app(settings, keys, chat, feedback))
    serving = asyncio.create_task(server.serve())
    status = asyncio.create_task(_say_status(settings, board, spool, clock))
    told = asyncio.create_task(asyncio.to_thread(service.stop_event.wait))
    watch = asyncio.create_task(_watch(service, board, drainer))
    log.info("gateway listens", extra={"host": settings.gateway.host, "port": settings.gateway_port})
    try:
        await asyncio.wait({serving, told, watch}, return_when=asyncio.FIRST_COMPLETED)
        if watch.done():
            watch.result()
        if serving.done():
            serving.result()
            raise Stop("the HTTP server ended by itself; its log says why")
    finally:
        service.stop_event.set()  # ends ``told`` too
        watch.cancel()
        service.waiting("calls under way to finish")
        server.stop()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(FINISH_S):
                await asyncio.wait({serving})
        except TimeoutError:
            log.warning("calls under way are cut after %g s", FINISH_S)
        await shadows.finish(2.0)
        status.cancel()
        follower.stop()
        await upstream.close()


def http_server(settings: Settings, app: ASGIApp) -> Granian:
    """The server, not yet started, for as many clients as ``CONNECTIONS`` and the open files allow."""
    connections = connections_within(_allowed_files(2 * CONNECTIONS + SPARE_FILES))
    return Granian(
        app,
        address=settings.gateway.host,
        port=settings.gateway_port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=connections,
        backpressure=connections,
        log_enabled=False,
    )


def connections_within(files: int) -> int:
    """How many clients ``files`` open files are enough for: each call takes one to its client and one to its engine."""
    return min(CONNECTIONS, max(1, (files - SPARE_FILES) // 2))


def _allowed_files(wanted: int) -> int:
    """How many files may be open: the process's own limit is raised to ``wanted``, as far as the system lets it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(soft, most)


def say_readiness(service: Service, board: Board, drainer: Drainer) -> None:
    """Ready once the routes are known, while the spool's records are carried (or wait for Kafka to come back).

    Raises Stop when the drain has ended: what it leaves would never reach Kafka.
    """
    if not drainer.is_alive():
        why = drainer.ended_by or "its log says why"
        raise Stop(f"the thread that carries events to Kafka has ended: {why}") from drainer.ended_by
    if service.stopping:
        return
    if drainer.trouble is not None:
        service.waiting(drainer.trouble)
    elif board.known:
        service.ready()


async def _watch(service: Service, board: Board, drainer: Drainer) -> None:
    while not service.stopping:
        say_readiness(service, board, drainer)
        await asyncio.sleep(STATUS_EVERY_S)


async def _say_status(settings: Settings, board: Board, spool: Spool, clock: Clock) -> None:
    """Each second, to the rollout controller: epochs in force and what is in flight. No error ends it."""
    producer: Producer | None = None
    said = ""
    try:
        while True:
            try:
                if producer is None:
                    producer = kafka.producer(settings, "tidemill-gateway-status", message_timeout_ms=5_000)
                if board.known:
                    status = board.status(spool.id, clock.now_ms(), spool.pending_records)
                    producer.produce(GATEWAYS.name, encode(status), spool.id)
                producer.poll(0)
                said = ""
            except Exception as error:
                if isinstance(error, KafkaException):  # it may never work again: take a new one
                    producer = None
                if (saying := f"{type(error).__name__}: {error}") != said:
                    said = saying
                    log.warning("the status cannot be said, trying again: %s", said)
            await asyncio.sleep(STATUS_EVERY_S)
    finally:
        if producer is not None:
            producer.flush(2)


def _in_loop(loop: asyncio.AbstractEventLoop, put: object, routes: dict[str, Route]) -> None:
    try:
        loop.call_soon_threadsafe(put, routes)  # type: ignore[arg-type]
    except RuntimeError:  # the loop has ended
        pass


def _check_port(settings: Settings) -> None:
    """Raises Stop, naming the setting, when the gateway cannot listen where it should."""
    host, port = settings.gateway.host, settings.gateway_port
    setting = "gateway.port" if settings.gateway.port is not None else "local.port_base"
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except (OSError, OverflowError) as error:
            raise Stop(
                f"the gateway cannot listen on {host}:{port} ({error}); move it with {setting} (or gateway.host)"
            ) from error
