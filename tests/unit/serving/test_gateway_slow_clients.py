"""Clients that are idle, slow, or read no more: none of them holds up another, and each call gets its end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.types import Message, Scope

from serving.gateway import http, main
from serving.gateway.auth import Keys
from serving.gateway.board import Board
from serving.gateway.chat import Chat
from serving.gateway.drain import Envelope
from serving.gateway.errors import CallError
from serving.gateway.recorder import Recorder
from serving.gateway.shadow import Shadows
from serving.gateway.spool import Spool
from tidemill.clock import SystemClock
from tidemill.events import InferenceResponse
from tidemill.ids import CompletionIds
from tidemill.local.ports import free_port_base
from tidemill.settings import PipelineSettings, Settings
from tidemill.settings.model import EngineSettings, LocalSettings
from tidemill.topics import RESPONSES

SETTINGS = Settings(
    engines={"main": EngineSettings()}, pipelines={"talk": PipelineSettings(engine="main", champion="talk-v1")}
)
BODY = json.dumps({"model": "talk", "stream": True, "messages": [{"role": "user", "content": "hello"}]}).encode()
SCOPE: Scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}


class Engine:
    """Answers with words without end, or breaks with ``error``."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    async def chunks(self, *_: Any, **__: Any) -> AsyncIterator[dict[str, Any]]:
        yield {"choices": [{"index": 0, "delta": {"content": "word "}}]}
        if self._error is not None:
            raise self._error
        while True:
            await asyncio.sleep(0)
            yield {"choices": [{"index": 0, "delta": {"content": "word "}}]}


def chat_on(spool: Spool, board: Board, engine: Engine) -> Chat:
    clock = SystemClock()
    recorder = Recorder(SETTINGS, spool, clock)
    return Chat(
        SETTINGS,
        keys=Keys(None),
        board=board,
        recorder=recorder,
        upstream=engine,  # type: ignore[arg-type]
        shadows=Shadows(SETTINGS, board, recorder, engine, clock),  # type: ignore[arg-type]
        completion_ids=CompletionIds(b"k" * 32),
        clock=clock,
        closing=lambda: False,
    )


def responses(spool: Spool) -> list[InferenceResponse]:
    found = [msgspec.msgpack.decode(payload, type=Envelope) for payload in spool.read(spool.position).payloads]
    return [RESPONSES.decoder()(envelope.value) for envelope in found if envelope.topic == RESPONSES.name]


async def stays() -> Message:
    """A client that says no more, and stays."""
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("broken", [False, True])
def test_a_client_that_reads_no_more_has_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool) -> None:
    monkeypatch.setattr(http, "WRITE_S", 0.05)
    spool, board = Spool(tmp_path, 1 << 20, new_id=lambda: "spool"), Board(SETTINGS)
    board.apply({})
    given = [{"type": "http.request", "body": BODY, "more_body": False}]
    sent = []

    async def receive() -> Message:
        return given.pop() if given else await stays()

    async def send(message: Message) -> None:
        sent.append(message)
        if len(sent) > (2 if broken else 5):
            await asyncio.Event().wait()

    async def call() -> None:
        async with asyncio.timeout(5):
            await chat_on(spool, board, Engine(KeyError("x") if broken else None))(SCOPE, receive, send)

    asyncio.run(call())
    (row,) = responses(spool)
    if broken:
        assert (row.status, row.error_type) == ("error", "internal_error")
    else:
        assert (row.status, row.error_type, row.http_status) == ("cancelled", "client_left", 499)
        assert sent[-1]["more_body"]
    assert board.status("g", 1, 0).in_flight == {}


def test_a_body_that_does_not_come_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "BODY_S", 0.05)
    given = [{"type": "http.request", "body": b"{", "more_body": True}]

    async def receive() -> Message:
        return given.pop() if given else await stays()

    async def read() -> None:
        async with asyncio.timeout(5):
            await http.read_json_body(SCOPE, receive, 1000)

    with pytest.raises(CallError, match="did not arrive within") as refused:
        asyncio.run(read())
    assert refused.value.http_status == 408


def test_hundreds_of_idle_clients_keep_nobody_out() -> None:
    settings = Settings(local=LocalSettings(port_base=free_port_base()))

    async def app(scope: Scope, _: Any, send: Any) -> None:
        if scope["type"] == "http":
            await http.answer(send, 200, b"{}")

    async def ask() -> bytes:
        server = main.http_server(settings, app)
        serving = asyncio.create_task(server.serve())
        writers: list[asyncio.StreamWriter] = []
        try:
            async with asyncio.timeout(20):
                while len(writers) < 300:
                    try:
                        _, writer = await asyncio.open_connection("127.0.0.1", settings.gateway_port)
                    except ConnectionRefusedError:  # it only begins to listen
                        await asyncio.sleep(0.05)
                    else:
                        writers.append(writer)
                reader, writer = await asyncio.open_connection("127.0.0.1", settings.gateway_port)
                writers.append(writer)
                writer.write(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n")
                return await reader.readline()
        finally:
            for writer in writers:
                writer.close()
            server.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait({serving}, timeout=5)

    assert asyncio.run(ask()).startswith(b"HTTP/1.1 200")


def test_no_more_clients_than_open_files_are_enough_for() -> None:
    assert main.connections_within(1 << 20) == main.CONNECTIONS
    assert main.connections_within(1024) == 256
    assert main.connections_within(64) == 1
