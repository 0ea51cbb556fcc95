"""Where a webhook may be called, that the checked address is the one connected to, and what receivers can ask for."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from consumers.alerts.addresses import Forbidden, allowed, resolve
from consumers.alerts.sending import post
from tests.unit.consumers_alerts.test_alert_order import HOOK, Reader, reader, started
from tests.waiting import until
from tidemill.clock import SystemClock

__all__ = ["reader"]
TLS = httpx.create_ssl_context(trust_env=False)


@pytest.mark.parametrize(
    ("host", "address", "auto", "private"),
    [
        ("hooks.example.com", "93.184.216.34", True, True),
        ("hooks.example.com", "10.1.2.3", False, True),
        ("hooks.example.com", "127.0.0.1", False, True),
        ("hooks.example.com", "::ffff:192.168.1.1", False, True),
        ("hooks.example.com", "64:ff9b::a00:1", False, True),
        ("hooks.example.com", "2002:7f00:1::", False, True),
        ("hooks.example.com", "64:ff9b:1::a00:1", False, True),
        ("hooks.example.com", "::ffff:0:10.0.0.1", False, True),
        ("hooks.example.com", "::127.0.0.1", False, True),
        ("hooks.example.com", "fec0::1", False, True),
        ("hooks.example.com", "2606:2800:220:1::1", True, True),
        ("hooks.example.com", "fd00::1", False, True),
        ("hooks.example.com", "100.64.0.1", False, True),
        ("receiver", "172.18.0.4", True, True),
        ("localhost", "::1", True, True),
        ("hooks.monitoring.svc", "10.96.0.9", True, True),
        ("hooks.corp.internal.", "10.96.0.9", True, True),
        ("10.0.0.7", "10.0.0.7", True, True),
        ("::1", "::1", True, True),
        ("receiver", "169.254.169.254", False, True),
        ("169.254.169.254", "169.254.169.254", False, True),
        ("fe80::1", "fe80::1%eth0", False, True),
        ("receiver", "224.0.0.1", False, False),
        ("0.0.0.0", "0.0.0.0", False, False),
    ],
)
def test_private_addresses_are_called_only_where_that_is_meant(
    host: str, address: str, auto: bool, private: bool
) -> None:
    assert allowed(host, address, None) is auto
    assert allowed(host, address, True) is private
    assert not allowed(host, address, False) or address in ("93.184.216.34", "2606:2800:220:1::1")


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """The resolver gives these answers in turn; what it was asked."""
    asked: list[str] = []

    async def getaddrinfo(_: Any, host: str, port: int, **__: Any) -> list[Any]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in answers[len(asked) - 1]]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    return asked


def test_one_private_address_among_several_forbids_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    names(monkeypatch, ["93.184.216.34", "10.0.0.1"])
    with pytest.raises(Forbidden, match=r"hooks\.example\.com is at 10\.0\.0\.1, .* set allow_private: true"):
        asyncio.run(resolve("hooks.example.com", 443, None))


class Receiver(ThreadingHTTPServer):
    """Answers with what it is told to, and remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        receiver = self
        self.hosts: list[str] = []
        self.ids: list[str] = []
        self.bodies: list[bytes] = []
        self.answer: tuple[int, dict[str, str]] = (200, {})

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                receiver.hosts.append(self.headers["Host"])
                receiver.ids.append(self.headers["webhook-id"])
                receiver.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                status, headers = receiver.answer
                self.send_response(status)
                for name, value in {"Content-Length": "0", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()


@pytest.fixture
def server() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.shutdown()
    made.server_close()


def test_the_name_is_asked_for_once_and_the_checked_address_is_called(
    monkeypatch: pytest.MonkeyPatch, server: Receiver
) -> None:
    asked = names(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    url = f"http://hooks.example.com:{server.server_port}/x"
    assert asyncio.run(post(url, b"{}", {}, 5, TLS, True)) == (200, "")
    assert asked == ["hooks.example.com"]
    assert server.hosts == [f"hooks.example.com:{server.server_port}"]


@pytest.mark.parametrize(("name", "taken"), [("hooks.example.com", True), ("other.example.com", False)])
def test_the_certificate_is_checked_against_the_name_not_the_address(
    monkeypatch: pytest.MonkeyPatch, server: Receiver, tmp_path: Path, name: str, taken: bool
) -> None:
    certificate = self_signed("hooks.example.com", tmp_path)
    there = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    there.load_cert_chain(certificate)
    server.socket = there.wrap_socket(server.socket, server_side=True)
    here = ssl.create_default_context(cafile=str(certificate))
    names(monkeypatch, ["127.0.0.1"])
    call = post(f"https://{name}:{server.server_port}/x", b"{}", {}, 5, here, True)
    if taken:
        assert asyncio.run(call) == (200, "")
    else:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(call)


def self_signed(name: str, folder: Path) -> Path:
    """A file with a key and a certificate for that name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "certificate.pem"
    file.write_bytes(private + made.public_bytes(Encoding.PEM))
    return file


def test_a_public_name_that_leads_home_is_not_called(monkeypatch: pytest.MonkeyPatch, server: Receiver) -> None:
    names(monkeypatch, ["127.0.0.1"])
    with pytest.raises(Forbidden):
        asyncio.run(post(f"http://hooks.example.com:{server.server_port}/x", b"{}", {}, 5, TLS))
    assert server.hosts == []


def test_the_next_address_is_tried_where_one_is_dead(monkeypatch: pytest.MonkeyPatch, server: Receiver) -> None:
    names(monkeypatch, ["127.0.0.2", "127.0.0.1"])
    assert asyncio.run(post(f"http://localhost:{server.server_port}/x", b"{}", {}, 5, TLS)) == (200, "")


def test_a_redirect_is_not_followed(server: Receiver) -> None:
    server.answer = (307, {"Location": f"http://127.0.0.1:{server.server_port}/elsewhere"})
    assert asyncio.run(post(f"http://127.0.0.1:{server.server_port}/x", b"{}", {}, 5, TLS)) == (307, "")
    assert len(server.hosts) == 1


Send = Callable[..., Any]


def answering(*answers: tuple[int, str]) -> tuple[Send, list[str]]:
    """A receiver that gives these answers, the last one for ever; the ids it was sent."""
    ids: list[str] = []

    def send(name: str, *_: str) -> tuple[int, str]:
        ids.append(name)
        return answers[min(len(ids), len(answers)) - 1]

    return send, ids


def test_a_receiver_that_is_gone_is_called_no_more_not_after_a_restart_either(
    monkeypatch: pytest.MonkeyPatch, reader: Reader
) -> None:
    for expected in (["one"], []):
        send, ids = answering((410, ""))
        thread, stop = started(monkeypatch, send)
        until(lambda: "is retired" in (thread.trouble or ""), within_s=10, what="it is visible")  # noqa: B023
        assert ids == expected and thread.is_alive() and reader.place == 0
        stop.set()
        thread.join(5)
        assert not thread.is_alive()


def test_another_address_goes_on_where_the_retired_one_stood(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    thread, stop = started(monkeypatch, answering((410, ""))[0])
    until(lambda: "is retired" in (thread.trouble or ""), within_s=10, what="it is retired")
    stop.set()
    thread.join(5)
    send, ids = answering((200, ""))
    moved = HOOK.model_copy(update={"url": "http://127.0.0.1/moved"})
    thread, stop = started(monkeypatch, send, moved)
    until(lambda: reader.place == 2, within_s=10, what="both are delivered")
    stop.set()
    thread.join(5)
    assert ids == ["one", "two"]


def test_a_receiver_that_asks_for_time_gets_nothing_else_meanwhile(
    monkeypatch: pytest.MonkeyPatch, reader: Reader
) -> None:
    send, ids = answering((429, "1"), (200, ""))
    thread, stop = started(monkeypatch, send)
    begun = SystemClock().monotonic_s()
    until(lambda: reader.place == 2, within_s=10, what="both are delivered")
    assert SystemClock().monotonic_s() - begun >= 0.9 and ids == ["one", "one", "two"]
    stop.set()
    thread.join(5)


def test_why_an_address_is_not_called_is_visible(monkeypatch: pytest.MonkeyPatch, reader: Reader) -> None:
    names(monkeypatch, *[["10.0.0.1"]] * 50)
    thread, stop = started(monkeypatch, None, HOOK.model_copy(update={"url": "http://hooks.example.com/x"}))
    until(lambda: "set allow_private: true" in (thread.trouble or ""), within_s=10, what="the way out")
    stop.set()
    thread.join(5)
