"""The little of HTTP that the gateway does by itself: bodies with a limit, answers, and knowing when a client left."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from types import TracebackType

from starlette.types import Receive, Scope, Send

from serving.gateway.errors import CallError, invalid
from tidemill.errors import TidemillError

JSON = b"application/json"
EVENT_STREAM = b"text/event-stream; charset=utf-8"
Headers = Iterable[tuple[bytes, bytes]]
BODY_S = 30.0
"""How long a client may take to send its request's body."""
WRITE_S = 30.0
"""How long a client may leave a piece of its answer unread."""


class ClientStalled(TidemillError):
    """The client reads its answer no more: for the call it has gone."""


def header(scope: Scope, name: bytes) -> bytes:
    """The first header of that (lower-case) name; empty when there is none."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return b""


async def read_json_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """The whole body. Raises CallError where it is not declared as JSON, larger than ``limit`` bytes, or too slow."""
    kind = header(scope, b"content-type").split(b";")[0].strip().lower()
    if kind != JSON:
        shown = kind.decode(errors="replace") or "nothing"
        raise invalid(f"Send the body as application/json (the header says {shown}).", http_status=415)
    try:
        async with asyncio.timeout(BODY_S):
            return await _body(receive, limit)
    except TimeoutError as error:
        raise invalid(f"The body did not arrive within {BODY_S:g} s.", http_status=408) from error


async def _body(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise invalid("The client left before its request was whole.", http_status=499)
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise invalid(f"The body is larger than {limit} bytes (gateway.max_body_bytes).", http_status=413)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


async def answer(send: Send, status: int, body: bytes, *, kind: bytes = JSON, headers: Headers = ()) -> None:
    """A whole answer."""
    await begin(send, status, kind=kind, headers=[(b"content-length", str(len(body)).encode()), *headers])
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def answer_error(send: Send, error: CallError, *, headers: Headers = ()) -> None:
    """An error in OpenAI's shape."""
    retry = [(b"retry-after", b"1")] if error.http_status == 503 else []
    await answer(send, error.http_status, error.body(), headers=[*retry, *headers])


async def begin(send: Send, status: int, *, kind: bytes, headers: Headers = ()) -> None:
    """Status and headers of an answer whose body follows."""
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind), *headers]})


async def write(send: Send, body: bytes, *, last: bool = False) -> None:
    """A piece of the body. Raises ClientStalled when the client takes none of it for ``WRITE_S``."""
    try:
        async with asyncio.timeout(WRITE_S):
            await send({"type": "http.response.body", "body": body, "more_body": not last})
    except TimeoutError as error:
        raise ClientStalled(f"the client has read nothing for {WRITE_S:g} s") from error


class UntilGone:
    """Cancels the block it guards when the client leaves; ``gone`` tells that from any other cancellation.

    Enter it only after the body has been read: from then on the server reports nothing but the disconnect.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.gone = False

    async def __aenter__(self) -> UntilGone:
        self._task = asyncio.current_task()
        self._watch = asyncio.create_task(self._wait())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._watch.cancel()

    async def _wait(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone = True
        if self._task is not None:
            self._task.cancel()
