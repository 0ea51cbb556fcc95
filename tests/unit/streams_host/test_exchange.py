"""Engines that drip, lie or never end; keys that no header can carry."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streams.host import exchange
from streams.host.asking import Asking
from streams.host.engines import EngineLook
from streams.host.exchange import Answer, Exchange
from streams.host.registered import loaded
from streams.host.served import Comparisons, Difference
from tidemill.clock import ManualClock
from tidemill.errors import Retry, Stop
from tidemill.settings import Settings

ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def told() -> Iterator[tuple[str, list[bytes]]]:
    """Its address, and what it says to each caller: the first part at once, each further one drop by drop."""
    says: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def answer(caller: socket.socket) -> None:
        with caller:
            caller.recv(65_536)
            try:
                caller.sendall(says[0])
                while says[1:] and not over.wait(0.02):
                    caller.sendall(says[1])
            except OSError:
                pass

    def serve() -> None:
        while not over.is_set():
            try:
                caller, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(caller,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield f"http://127.0.0.1:{server.getsockname()[1]}/v1", says
    over.set()
    server.close()


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def watching(url: str, tmp_path: Path, **engine: object) -> Settings:
    fields = {"url": url, "probe": {"every_s": 60}} | engine
    return Settings.model_validate({"engines": {"e": fields}, "data_dir": str(tmp_path)})


@pytest.mark.parametrize("head", [ENDLESS, b"HTTP/1.1 200 OK\r\nX-Slow: "])
def test_an_engine_that_drips_holds_nobody_beyond_the_deadline(told: tuple[str, list[bytes]], head: bytes) -> None:
    url, says = told
    says += [head, b"1\r\nx\r\n" if head == ENDLESS else b"x"]
    begun = time.monotonic()
    with pytest.raises(Retry, match=r"no whole answer within 0\.3 s"):
        Exchange("", 0.3).get(url)
    assert time.monotonic() - begun < 5


def test_an_answer_without_end_is_given_up(told: tuple[str, list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    url, says = told
    monkeypatch.setattr(exchange, "MOST_BYTES", 10_000)
    says += [ENDLESS, b"1000\r\n" + b"x" * 4096 + b"\r\n"]
    with pytest.raises(Retry, match="more than 10000 bytes"):
        Exchange("", 30).get(url)


LIES = [
    b"",
    b"[]",
    b"null",
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"choices": 1, "data": 5}',
    b'{"data": [{"id": "a", "root": "/x\\u0000y", "parent": "b"}]}',
    b'{"data": [{"id": "\\ud800", "root": "/x"}], "choices": [{"message": {"content": "a"}}], "model": "\\ud800"}',
]


@pytest.mark.parametrize("body", LIES)
def test_an_engine_that_lies_ends_no_look_and_no_round(
    told: tuple[str, list[bytes]], tmp_path: Path, body: bytes
) -> None:
    url, says = told
    says.append(whole(body))
    settings, clock = watching(url, tmp_path), ManualClock(1)
    look, asks = EngineLook(settings, "e", clock), Asking(settings, "e", clock)
    assert look.look() == {}
    try:
        assert all(adapter.digest is None for adapter in loaded(look.models(), "base")[0])
    except Retry as error:
        assert "engine e does not say what it serves" in str(error)
    assert asks.tick() is False
    asks.keep()


def test_what_an_engine_says_of_itself_makes_no_endless_alarm() -> None:
    (trouble,) = Comparisons().judge("e", [Difference("x" * 10_000_000, "is not known")] * 9, True, 1)
    assert len(trouble.summary) < 4_000


def test_an_answer_that_is_none_says_so() -> None:
    with pytest.raises(Retry, match="status 302"):
        Answer(302, b"{}").object()


@pytest.mark.parametrize("key", ["sk-secret\nmore", "sk-secret more", "sk-secrét"])
def test_a_key_that_no_header_can_carry_stops_without_being_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    monkeypatch.setenv("TIDEMILL_TEST_KEY", key)
    settings = watching("http://127.0.0.1:9/v1", tmp_path, api_key_env="TIDEMILL_TEST_KEY")
    for make in (EngineLook, Asking):
        with pytest.raises(Stop, match=r"engines\.e\.api_key_env names TIDEMILL_TEST_KEY") as found:
            make(settings, "e", ManualClock(1))
        assert "secr" not in str(found.value)


def test_a_key_with_a_line_break_at_its_end_is_sent_without_it(
    told: tuple[str, list[bytes]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, says = told
    says.append(whole(b'{"data": []}'))
    monkeypatch.setenv("TIDEMILL_TEST_KEY", "sk-secret\n")
    settings = watching(url, tmp_path, api_key_env="TIDEMILL_TEST_KEY")
    assert EngineLook(settings, "e", ManualClock(1)).models() == {"data": []}
