"""The gateway's process: what is said of it goes on, and an error it did not expect is told without its words."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import KafkaException
from starlette.testclient import TestClient

from serving.gateway import main
from serving.gateway.app import make_app
from serving.gateway.auth import Keys
from serving.gateway.board import Board
from serving.gateway.spool import Spool
from tidemill.clock import ManualClock
from tidemill.io import kafka
from tidemill.settings import Settings


class Producer:
    """Fails as often as ``errors`` holds one, then takes all."""

    def __init__(self, errors: list[Exception], taken: list[bytes]) -> None:
        self._errors, self._taken = errors, taken

    def produce(self, _topic: str, value: bytes, _key: str) -> None:
        if self._errors:
            raise self._errors.pop()
        self._taken.append(value)

    def poll(self, _: float) -> None:
        pass

    def flush(self, _: float) -> None:
        pass


@pytest.mark.parametrize("error", [KafkaException("fatal"), BufferError("full"), ValueError("a surprise")])
def test_the_status_is_said_again_after_an_error_which_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    errors, taken, made = [error] * 3, [], []  # type: ignore[var-annotated]

    def producer(*_: Any, **__: Any) -> Producer:
        made.append(Producer(errors, taken))
        return made[-1]

    monkeypatch.setattr(kafka, "producer", producer)
    monkeypatch.setattr(main, "STATUS_EVERY_S", 0.01)
    board, spool = Board(Settings()), Spool(tmp_path, 1 << 20, new_id=lambda: "spool")
    board.apply({})

    async def say() -> None:
        saying = asyncio.create_task(main._say_status(Settings(), board, spool, ManualClock(1)))
        ended, _ = await asyncio.wait({saying}, timeout=0.5)
        assert not ended
        saying.cancel()

    asyncio.run(say())
    assert taken
    assert len([r for r in caplog.records if "status cannot be said" in r.message]) == 1
    assert len(made) == (4 if isinstance(error, KafkaException) else 1)


def test_an_unexpected_error_is_logged_with_its_type_and_place_but_not_its_words(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken(*_: Any) -> None:
        raise KeyError("a prompt, a key")

    app = make_app(Settings(), Keys(None), broken, broken)
    with caplog.at_level(logging.ERROR), TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/v1/chat/completions")
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "internal_error"
    (told,) = [r.getMessage() for r in caplog.records if r.name == "serving.gateway.app"]
    assert "KeyError" in told and "test_gateway_process.py" in told and "broken" in told
    assert "prompt" not in caplog.text
