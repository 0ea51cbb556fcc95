"""Taken ports are named with the setting that moves them."""

from __future__ import annotations

import socket

import pytest

from tidemill.errors import Stop
from tidemill.local.ports import explain, is_free, refuse_taken
from tidemill.local.process import Process


def test_a_taken_port_is_refused_with_the_way_out() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(1)
        port = server.getsockname()[1]
        assert not is_free(port)
        process = Process("store", ("true",), ports={"local.port_base (store)": port})
        with pytest.raises(Stop) as refused:
            refuse_taken([process], 18000)
    text = str(refused.value)
    assert f"port {port}, which store needs" in text
    assert "local.port_base (now 18000)" in text and "TIDEMILL_LOCAL__PORT_BASE=19000" in text


def test_free_ports_are_no_trouble() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
    refuse_taken([Process("store", ("true",), ports={"local.port_base (store)": port})], 18000)


def test_a_setting_of_its_own_is_named() -> None:
    said = explain("gateway", "gateway.port", 8000, 18000)
    assert "move it with gateway.port, for example TIDEMILL_GATEWAY__PORT=9000" in said
    assert "port_base" not in said
