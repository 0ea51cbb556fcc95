"""The HTTP side: sockets, threads, keep-alive. One thread a connection; what an answer is, exchange.py knows."""

from __future__ import annotations

import io
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from tidemill.local.store import body as bodies
from tidemill.local.store import codings, multipart
from tidemill.local.store.database import Database
from tidemill.local.store.exchange import Reply, answered
from tidemill.local.store.faults import ABORTED, ACCESS_DENIED, BAD_ARGUMENTS, STD_EXCEPTION, StoreFault, refusal
from tidemill.local.store.request import Ask, admit, credentials, from_elsewhere, read_ask
from tidemill.local.store.room import Room

_BUFFERED = 256 << 10
_WORTH_PACKING = 512
MAX_BODY = 256 << 20
_ALIVE = ("/ping", "/replicas_status")


@dataclass(frozen=True, slots=True)
class Door:
    """Who may come in and how much they may bring. ``password`` None: everyone who reaches the port."""

    host: str = "127.0.0.1"
    port: int = 8123
    user: str = "default"
    password: str | None = None
    max_body: int = MAX_BODY
    max_decoded: int = 1 << 30
    connections: int = 256
    idle_s: float = 3600.0
    transfer_s: float = 60.0

    @property
    def own_hosts(self) -> frozenset[str]:
        """Names a Host header may carry when there is no password."""
        return frozenset(("localhost", "127.0.0.1", "[::1]", self.host.lower()))


class StoreServer(ThreadingHTTPServer):
    """Serves ``database`` at ``door``. The socket listens once constructed; OSError when the address is taken."""

    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True

    def __init__(self, database: Database, door: Door, spool: Path) -> None:
        self.address_family = socket.AF_INET6 if ":" in door.host else socket.AF_INET
        self.database, self.door, self.spool = database, door, spool
        self.stopping = threading.Event()
        self.lost = ""
        self.room = Room(spool, self.give_up)
        self._places = threading.BoundedSemaphore(door.connections)
        super().__init__((door.host, door.port), _Handler)

    def give_up(self, why: str) -> None:
        """End this process with SIGTERM, so that another one starts; ``lost`` says why."""
        self.lost = self.lost or why
        os.kill(os.getpid(), signal.SIGTERM)

    def note(self, fault: StoreFault) -> None:
        """What a fault means for the process as a whole."""
        if fault.fatal:
            self.give_up(fault.fatal)
        if fault.full:
            self.room.was_full()

    def server_bind(self) -> None:
        # http.server's own would look the host's name up, which can take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.door.host, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for the connection, or a hang-up when there are too many."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """The connection's whole life."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no event."""


class _Handler(BaseHTTPRequestHandler):
    server: StoreServer
    protocol_version = "HTTP/1.1"
    server_version = "tidemill-store"
    sys_version = ""
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._serve(readonly=True)

    def do_HEAD(self) -> None:
        self._serve(readonly=True)

    def do_POST(self) -> None:
        self._serve(readonly=False)

    def handle_one_request(self) -> None:
        # Waiting for the next request may take long; a request that has begun may not.
        self.connection.settimeout(self.server.door.idle_s)
        if not self.rfile.peek(1):  # type: ignore[attr-defined]
            self.close_connection = True
            return
        self.connection.settimeout(self.server.door.transfer_s)
        super().handle_one_request()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: their text may hold users' data."""

    def _serve(self, *, readonly: bool) -> None:
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        if url.path in _ALIVE or (url.path == "/" and readonly and not url.query):
            self._send(200, {"Content-Type": "text/plain; charset=UTF-8"}, b"Ok.\n")
            return
        try:
            self._guarded(url.path, url.query, headers)
            body = bodies.received(self.rfile, headers, limit=self.server.door.max_body, spool=self.server.spool)
        except StoreFault as fault:
            self.close_connection = True  # the body is still on its way
            self._refuse(fault)
            return
        with body:
            try:
                self._exchange(url.query, headers, body, readonly)
            except StoreFault as fault:
                self._refuse(fault)
            except (ConnectionError, TimeoutError):
                raise  # the client is gone
            except Exception as error:  # told to the client, as any server does: the process goes on
                self._refuse(refusal(STD_EXCEPTION, f"{type(error).__name__}: {error}"))

    def _guarded(self, path: str, query: str, headers: Mapping[str, str]) -> None:
        door = self.server.door
        admit(credentials(headers, query), door.password, door.user)
        if door.password is None and from_elsewhere(headers, door.own_hosts):
            raise refusal(ACCESS_DENIED, "The store has no password and serves no requests of other sites' pages")
        if path not in ("", "/", "/query"):
            raise refusal(BAD_ARGUMENTS, f"There is no {path!r} here: use / and /ping")

    def _exchange(self, query: str, headers: Mapping[str, str], body: IO[bytes], readonly: bool) -> None:
        pieces = codings.unpack(body, headers.get("content-encoding", ""), limit=self.server.door.max_decoded)
        files: dict[str, IO[bytes]] = {}
        boundary = multipart.boundary_of(headers.get("content-type", ""))
        if boundary is None:
            ask = read_ask(query, headers)
        else:
            found = multipart.parts(b"".join(pieces), boundary)
            files = {part.name: io.BytesIO(part.content) for part in found if part.file}
            ask = read_ask(query, headers, [(part.name, part.content) for part in found if not part.file], files)
            pieces = iter(())
        if self.server.lost:
            raise refusal(ABORTED, "The store starts again")
        server = self.server
        with closing(answered(server.database, server.room, ask, pieces, files, readonly=readonly)) as exchange:
            self._reply(ask, next(exchange), chosen(headers, ask))

    def _reply(self, ask: Ask, reply: Reply, coding: str) -> None:
        headers = {**reply.headers, **self._own_headers(ask)}
        tag = secrets.token_hex(8)
        pieces, first, more = _opening(reply.pieces, most=self.server.door.max_body if ask.whole_answer else _BUFFERED)
        if not more and len(first) < _WORTH_PACKING:
            coding = ""
        packer = codings.packer(coding) if coding else None
        if coding:
            headers["Content-Encoding"] = coding
        if not more:
            self._send(200, headers, packer.compress(first) + packer.flush() if packer else first)
            return
        headers["X-ClickHouse-Exception-Tag"] = tag
        with _Chunked(self) as out:
            out.begin(headers)
            out.write(packer.compress(first) if packer else first)
            try:
                for piece in pieces:
                    out.write(packer.compress(piece) if packer else piece)
            except StoreFault as fault:
                self.server.note(fault)
                told = _told_in_the_middle(fault, tag)
                out.write(packer.compress(told) + packer.flush() if packer else told)
                out.broken = True
                return
            out.write(packer.flush() if packer else b"")

    def _own_headers(self, ask: Ask) -> dict[str, str]:
        query_id = ask.query_id if ask.query_id.isprintable() else ""
        return {
            "X-ClickHouse-Query-Id": query_id or secrets.token_hex(16),
            "X-ClickHouse-Server-Display-Name": "tidemill-store",
            "X-ClickHouse-Timezone": self.server.database.timezone,
        }

    def _refuse(self, fault: StoreFault) -> None:
        self.server.note(fault)
        version = f" (version {self.server.database.version})"
        text = fault.text if version in fault.text else fault.text + version
        headers = {"Content-Type": "text/plain; charset=UTF-8", "X-ClickHouse-Exception-Code": str(fault.code)}
        self._send(fault.status, headers, text.encode("utf-8", "replace") + b"\n")

    def head(self, status: int, headers: Mapping[str, str]) -> bytes:
        """Status line and headers, ready to send."""
        closing_now = self.close_connection or self.server.stopping.is_set()
        self.close_connection = closing_now
        lines = [f"HTTP/1.1 {status} {self.responses.get(status, ('',))[0]}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += ["Connection: close" if closing_now else "Connection: Keep-Alive", "", ""]
        return "\r\n".join(lines).encode("latin-1", "replace")

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        head = self.head(status, {**headers, "Content-Length": str(len(body))})
        self.wfile.write(head if self.command == "HEAD" else head + body)


class _Chunked:
    """A body of unknown length; left without its last chunk when ``broken``, which every client notices."""

    def __init__(self, handler: _Handler) -> None:
        self._handler, self._chunked = handler, handler.request_version != "HTTP/1.0"
        self.broken = False

    def __enter__(self) -> _Chunked:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self.broken or kind is not None:
            self._handler.close_connection = True
        elif self._chunked:
            self._handler.wfile.write(b"0\r\n\r\n")

    def begin(self, headers: Mapping[str, str]) -> None:
        if not self._chunked:
            self._handler.close_connection = True
        framing = {"Transfer-Encoding": "chunked"} if self._chunked else {}
        self._handler.wfile.write(self._handler.head(200, {**headers, **framing}))

    def write(self, data: bytes) -> None:
        if data:
            self._handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)


def chosen(headers: Mapping[str, str], ask: Ask) -> str:
    """The coding of the answer, '' for none."""
    return codings.chosen_coding(headers.get("accept-encoding", "")) if ask.compress else ""


def _opening(pieces: Iterator[bytes], *, most: int) -> tuple[Iterator[bytes], bytes, bool]:
    """The rest, the beginning of at least ``most`` bytes, and whether there is a rest."""
    first = bytearray()
    for piece in pieces:
        first += piece
        if len(first) >= most:
            return pieces, bytes(first), True
    return pieces, bytes(first), False


def _told_in_the_middle(fault: StoreFault, tag: str) -> bytes:
    message = fault.text.encode("utf-8", "replace")
    return b"\r\n__exception__\r\n%b\r\n%b\n%d %b\r\n__exception__\r\n" % (
        tag.encode(),
        message,
        len(message) + 1,
        tag.encode(),
    )
