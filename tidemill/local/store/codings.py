"""Content codings of HTTP bodies: lz4 (frame), zstd, gzip, deflate. Reads are bounded, whatever was packed."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from typing import IO, Protocol, cast

from tidemill.local.store.faults import (
    CANNOT_DECOMPRESS,
    QUERY_TOO_LARGE,
    UNEXPECTED_END,
    UNKNOWN_COMPRESSION,
    refusal,
)

CODINGS = ("lz4", "zstd", "gzip", "deflate")
_PIECE = 1 << 20
_STEP = 1 << 10  # at most 32 MiB come out of one step


class Packer(Protocol):
    """A compressor that is fed piece by piece."""

    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def unpack(body: IO[bytes], coding: str, *, limit: int) -> Iterator[bytes]:
    """The decoded body in pieces of about 1 MiB.

    Raises StoreFault: an unknown coding, broken data, or more than ``limit`` decoded bytes.
    """
    reader = _reader(body, coding.strip().lower())
    seen = 0
    while True:
        try:
            piece = reader.read(_PIECE)
        except EOFError as error:
            raise refusal(UNEXPECTED_END, f"The {coding} body ends too early") from error
        except Exception as error:  # each library has an error class of its own
            raise refusal(CANNOT_DECOMPRESS, f"The body is not {coding}: {error}") from error
        if not piece:
            return
        seen += len(piece)
        if seen > limit:
            raise refusal(QUERY_TOO_LARGE, f"The decoded body is larger than {limit} bytes: send smaller inserts")
        yield piece


def chosen_coding(accepted: str) -> str:
    """The first coding of an Accept-Encoding header that the store can write, or ''. A weight of 0 refuses."""
    for offer in accepted.split(","):
        name, _, weight = offer.strip().lower().partition(";")
        if name.strip() in CODINGS and weight.replace(" ", "") not in ("q=0", "q=0.0"):
            return name.strip()
    return ""


def packer(coding: str) -> Packer:
    """A compressor for one of CODINGS, tuned for speed: the network is a loopback."""
    if coding == "gzip":
        return zlib.compressobj(1, zlib.DEFLATED, 31)
    if coding == "deflate":
        return zlib.compressobj(1)
    if coding == "zstd":
        import zstandard

        return cast(Packer, zstandard.ZstdCompressor(level=1).compressobj())
    return _Lz4()


class _Lz4:
    def __init__(self) -> None:
        from lz4.frame import LZ4FrameCompressor  # type: ignore[import-untyped,unused-ignore]

        self._frame = LZ4FrameCompressor()
        self._begun = False

    def compress(self, data: bytes, /) -> bytes:
        head = b"" if self._begun else self._frame.begin()
        self._begun = True
        return cast(bytes, head + self._frame.compress(data))

    def flush(self) -> bytes:
        head = b"" if self._begun else self._frame.begin()
        return cast(bytes, head + self._frame.flush())


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _reader(body: IO[bytes], coding: str) -> _Reader:
    if coding in ("", "identity"):
        return body
    if coding in ("gzip", "x-gzip"):
        return gzip.GzipFile(fileobj=body, mode="rb")
    if coding == "deflate":
        return _Inflate(body)
    if coding == "zstd":
        return _Zstd(body)
    if coding == "lz4":
        from lz4.frame import LZ4FrameFile  # type: ignore[import-untyped,unused-ignore]

        return cast(_Reader, LZ4FrameFile(body))
    raise refusal(UNKNOWN_COMPRESSION, f"Content-Encoding {coding!r} is unknown: use {', '.join(CODINGS)}")


class _Inflate:
    """zlib's format, read in bounded pieces."""

    def __init__(self, body: IO[bytes]) -> None:
        self._body = body
        self._zlib = zlib.decompressobj()

    def read(self, size: int, /) -> bytes:
        while not self._zlib.eof:
            packed = self._zlib.unconsumed_tail or self._body.read(1 << 16)
            out = self._zlib.decompress(packed, size)
            if out:
                return out
            if not packed:
                raise EOFError
        return b""


class _Zstd:
    """zstd frames, fed in small steps: the library's own reader takes a frame that is cut off for a whole one."""

    def __init__(self, body: IO[bytes]) -> None:
        import zstandard

        self._body = body
        self._library = zstandard.ZstdDecompressor()
        self._frame: zstandard.ZstdDecompressionObj | None = None

    def read(self, size: int, /) -> bytes:
        out = bytearray()
        while len(out) < size:
            packed = self._body.read(_STEP)
            if not packed:
                if self._frame is not None:
                    raise EOFError
                break
            while packed:
                frame = self._frame or self._library.decompressobj()
                out += frame.decompress(packed)
                packed = frame.unused_data if frame.eof else b""
                self._frame = None if frame.eof else frame
        return bytes(out)
