"""ClickHouse errors as the HTTP interface tells them: code, text, status.

The codes and their HTTP statuses are those a ClickHouse server answers with, so that drivers react alike.
"""

from __future__ import annotations

import re
from typing import Final

_CODE = re.compile(r"Code: (\d+)\. ")

UNEXPECTED_END: Final = 3
BAD_ARGUMENTS: Final = 36
NOT_IMPLEMENTED: Final = 48
SYNTAX_ERROR: Final = 62
UNKNOWN_COMPRESSION: Final = 89
UNKNOWN_SETTING: Final = 115
READONLY: Final = 164
TOO_MANY_QUERIES: Final = 202
QUERY_TOO_LARGE: Final = 229
CANNOT_DECOMPRESS: Final = 271
ACCESS_DENIED: Final = 497
AUTHENTICATION_FAILED: Final = 516
UNSUPPORTED_MEDIA: Final = 779
STD_EXCEPTION: Final = 1001
ABORTED: Final = 236
NOT_ENOUGH_SPACE: Final = 243
_UNREADABLE: Final = (40, 226, 228, 246)
"""Of a part's file: checksum, absence, size, content."""
TORN: Final = "nobody can say which rows are on disk"

_NAMES: Final[dict[int, str]] = {
    UNEXPECTED_END: "UNEXPECTED_END_OF_FILE",
    BAD_ARGUMENTS: "BAD_ARGUMENTS",
    NOT_IMPLEMENTED: "NOT_IMPLEMENTED",
    SYNTAX_ERROR: "SYNTAX_ERROR",
    UNKNOWN_COMPRESSION: "UNKNOWN_COMPRESSION_METHOD",
    UNKNOWN_SETTING: "UNKNOWN_SETTING",
    READONLY: "READONLY",
    TOO_MANY_QUERIES: "TOO_MANY_SIMULTANEOUS_QUERIES",
    QUERY_TOO_LARGE: "QUERY_IS_TOO_LARGE",
    CANNOT_DECOMPRESS: "CANNOT_DECOMPRESS",
    ACCESS_DENIED: "ACCESS_DENIED",
    AUTHENTICATION_FAILED: "AUTHENTICATION_FAILED",
    UNSUPPORTED_MEDIA: "UNSUPPORTED_MEDIA_TYPE",
    STD_EXCEPTION: "STD_EXCEPTION",
    NOT_ENOUGH_SPACE: "NOT_ENOUGH_SPACE",
}

_STATUS: Final[dict[int, int]] = {
    **dict.fromkeys((192, 193, 497, 512, 516), 403),
    194: 401,
    **dict.fromkeys((6, 8, 15, 25, 26, 27, 36, 37, 38, 41, 44, 53, 62, 72, 117, 123, 167, 168, 223, 321), 400),
    **dict.fromkeys((376, 427, 441, 675, 676), 400),
    **dict.fromkeys((46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 152, 336, 511), 404),
    229: 413,
    48: 501,
    76: 503,
    209: 503,
    439: 503,
    381: 411,
    159: 408,
    779: 415,
}


class StoreFault(Exception):
    """A refusal or failure to tell the client. ``code`` is ClickHouse's error code, ``text`` its whole message."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text

    @property
    def status(self) -> int:
        """The HTTP status a ClickHouse server gives this error."""
        return _STATUS.get(self.code, 500)

    @property
    def fatal(self) -> str:
        """Why only a new process can go on; empty when this one can.

        A part that was written while the disk was full may lack a file. At its start chDB sets such a part aside, and
        takes those again that a merged one was made of, which are kept for eight minutes.
        """
        if TORN in self.text:
            return f"the disk filled up during an insert: {TORN}"
        if self.code == ABORTED and "fatal error" in self.text:
            return "chDB failed for good"
        if self.code in _UNREADABLE and "reading from part" in self.text:
            return f"a part on disk cannot be read: {self.text[:300]}"
        return ""

    @property
    def full(self) -> bool:
        """Whether the disk had no room."""
        return self.code == NOT_ENOUGH_SPACE or "No space left on device" in self.text


def refusal(code: int, message: str) -> StoreFault:
    """A fault of the store's own, worded as chDB words its own."""
    return StoreFault(code, f"Code: {code}. DB::Exception: {message} ({_NAMES.get(code, 'UNKNOWN')})")


def database_fault(message: str) -> StoreFault:
    """The fault behind a chDB error message. chDB wraps ClickHouse's text in words of its own: they are cut off."""
    found = _CODE.search(message)
    if found is None:
        return refusal(STD_EXCEPTION, message.strip() or "chDB failed without a message")
    return StoreFault(int(found.group(1)), message[found.start() :].strip())
