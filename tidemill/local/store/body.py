"""A request's body off the socket: by length or in chunks (RFC 9112), kept in memory or, when large, in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import IO

from tidemill.local.store.faults import BAD_ARGUMENTS, QUERY_TOO_LARGE, UNEXPECTED_END, refusal

_PIECE = 1 << 18
_IN_MEMORY = 8 << 20


def received(source: BufferedIOBase, headers: Mapping[str, str], *, limit: int, spool: Path) -> IO[bytes]:
    """The whole body, at its start. The whole of it is read before chDB is asked for anything, so that a slow
    client holds no session. Raises StoreFault when it is cut off, malformed, or larger than ``limit`` bytes."""
    body: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(spool))  # noqa: SIM115 (the caller closes it)
    seen = 0
    try:
        for piece in _pieces(source, headers, limit):
            seen += len(piece)
            if seen > limit:
                raise _too_large(limit)
            body.write(piece)
    except BaseException:
        body.close()
        raise
    body.seek(0)
    return body


def _pieces(source: BufferedIOBase, headers: Mapping[str, str], limit: int) -> Iterator[bytes]:
    if headers.get("transfer-encoding", "").lower() == "chunked":
        yield from _chunks(source)
        return
    length = headers.get("content-length", "0")
    if not length.isdecimal():
        raise refusal(BAD_ARGUMENTS, f"Content-Length {length!r} is not a whole number")
    if int(length) > limit:
        raise _too_large(limit)
    yield from _exactly(source, int(length))


def _chunks(source: BufferedIOBase) -> Iterator[bytes]:
    while True:
        line = source.readline(1024)
        try:
            size = int(line.split(b";")[0].strip(), 16)
        except ValueError as error:
            raise refusal(UNEXPECTED_END, "The chunked body is cut off or malformed") from error
        if size <= 0:
            break
        yield from _exactly(source, size)
        source.readline(8)
    while source.readline(8192).strip():
        pass  # trailers


def _exactly(source: BufferedIOBase, size: int) -> Iterator[bytes]:
    while size:
        piece = source.read(min(size, _PIECE))
        if not piece:
            raise refusal(UNEXPECTED_END, "The body ends before its announced length")
        size -= len(piece)
        yield piece


def _too_large(limit: int) -> Exception:
    return refusal(QUERY_TOO_LARGE, f"The body is larger than {limit} bytes (--max-body): send smaller inserts")
