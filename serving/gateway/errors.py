"""What a client is told when a call fails, in the shape that OpenAI's clients know."""

from __future__ import annotations

import traceback

import msgspec

from tidemill.errors import TidemillError


class CallError(TidemillError):
    """A call that ends without an answer. ``event_type`` is what its event says; the message is for the client."""

    def __init__(
        self,
        http_status: int,
        kind: str,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        event_type: str = "",
    ) -> None:
        super().__init__(message)
        self.http_status = http_status
        self.kind = kind
        self.message = message
        self.param = param
        self.code = code
        self.event_type = event_type or code or kind

    def body(self) -> bytes:
        """``{"error": {message, type, param, code}}``."""
        error = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return msgspec.json.encode({"error": error})


def invalid(message: str, *, param: str | None = None, code: str | None = None, http_status: int = 400) -> CallError:
    """The request is wrong; the message says what to change."""
    return CallError(http_status, "invalid_request_error", message, param=param, code=code)


def unavailable(message: str, code: str) -> CallError:
    """Nothing is wrong with the request: try again later."""
    return CallError(503, "server_error", message, code=code)


def where(error: BaseException) -> str:
    """An unexpected error for the log: its type and its way through the code, innermost last.

    Its message stays out, it may quote a prompt or a key.
    """
    frames = traceback.extract_tb(error.__traceback__)
    way = " > ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames)
    return f"{type(error).__name__} in {way or 'unknown'}"
