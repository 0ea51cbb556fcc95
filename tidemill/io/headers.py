"""Headers of messages from Kafka, also where another client wrote what ours cannot read."""

from __future__ import annotations

from operator import methodcaller
from typing import Any

from confluent_kafka import Message

UNREADABLE = ("tidemill.headers", b"not readable: a name is not UTF-8")
_checked = methodcaller("headers")


def headers_of(message: Message) -> list[tuple[str, Any]]:
    """The message's headers. Where a name is not UTF-8 the client cannot give them, and dies when asked again: then
    ``UNREADABLE`` stands in their place, and the message keeps that.

    The client says so by an error that it sets and does not return. Python notices, but not in a call that it has come
    to make the fast way (PEP 659); ``methodcaller`` makes none of those.
    """
    try:
        return _checked(message) or []
    except SystemError:
        message.set_headers([UNREADABLE])
        return [UNREADABLE]
