"""Traffic by hand needs a gateway; the stack's own users wait for it."""

from __future__ import annotations

from collections import Counter
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from producers.traffic.traffic import Tally
from tidemill.cli.traffic import counts, needs_gateway
from tidemill.errors import Stop
from tidemill.local.plan import embedded_stack
from tidemill.local.ports import free_port_base
from tidemill.settings import Settings
from tidemill.settings.model import GatewaySettings


def test_without_a_gateway_the_way_out_is_named() -> None:
    settings = Settings(gateway=GatewaySettings(port=free_port_base()))
    with pytest.raises(
        Stop, match=r"^the gateway at http://127.0.0.1:\d+/v1 does not answer; start it with `tidemill up"
    ):
        needs_gateway(settings)


def test_any_answer_of_the_gateway_is_enough() -> None:
    with HTTPServer(("127.0.0.1", 0), _Refusing) as server:
        Thread(target=server.handle_request, daemon=True).start()
        needs_gateway(Settings(gateway=GatewaySettings(port=server.server_port)))


class _Refusing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        pass


def test_the_stacks_own_users_are_patient(tmp_path: Path) -> None:
    (users,) = embedded_stack(Settings(data_dir=tmp_path), only=["traffic"])
    assert users.argv[-2:] == ("traffic", "--patient")


def test_the_counts_are_one_line() -> None:
    tally = Tally(
        sent=Counter(a=1_200, b=3), answered=Counter(a=1_199), failed=Counter({"connection": 4}), feedback_given=7
    )
    assert counts(tally) == ("calls: 1,203 sent, 1,199 answered, 4 failed (4 connection); feedback: 7 given, 0 refused")
