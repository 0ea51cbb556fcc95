"""A role that says anything is alive; one that says nothing is silent for as long as that lasts."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest

from tidemill.clock import ManualClock
from tidemill.io.service import CalmServer, Service
from tidemill.settings import Settings


@pytest.mark.parametrize("sign", [Service.ready, Service.beat, lambda service: service.waiting("Kafka")])
def test_every_sign_of_life_ends_the_silence(sign: Callable[[Service], None]) -> None:
    clock = ManualClock(1_000)
    service = Service(Settings(), "sink", clock=clock)
    assert service.silent_s == 0
    clock.advance(90_000)
    assert service.silent_s == 90
    sign(service)
    assert service.silent_s == 0


def test_what_a_role_waits_for_is_said_once_and_that_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    clock = ManualClock()
    service = Service(Settings(), "sink", clock=clock)
    service.ready()
    assert caplog.messages == []
    for seconds in range(30):
        clock.advance(1_000)
        service.waiting("Kafka does not answer")
        if seconds == 3:
            service.waiting("a reason that changes soon")
    service.ready()
    service.ready()
    service.waiting("Kafka does not answer")
    assert caplog.messages == ["not ready: Kafka does not answer", "ready", "not ready: Kafka does not answer"]


def test_a_reader_that_gives_up_leaves_no_traceback(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    pages = CalmServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    try:
        for error in (BrokenPipeError(), ConnectionResetError()):
            try:
                raise error
            except OSError:
                pages.handle_error(None, None)
        assert caplog.messages == []
        try:
            raise ValueError
        except ValueError:
            pages.handle_error(None, None)
        assert caplog.messages == ["the health page failed"]
    finally:
        pages.server_close()
    assert capsys.readouterr().err == ""
