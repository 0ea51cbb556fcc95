"""Which names the console answers to, so that no other site's page can read it through its visitor's browser.

A page that lets its own name point here (DNS rebinding) sends that name in the header ``Host``. An IP address in it
cannot come about like that, so every address is taken; of names only ``localhost`` and those that the settings say.
"""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from tidemill.settings import Settings


def own_names(settings: Settings) -> frozenset[str]:
    """The console's names: ``localhost``, console.host and the host of console.public_url."""
    given = (settings.console.host.lower(), urlsplit(settings.console.public_url).hostname or "")
    return frozenset({"localhost", *given} - {""})


def is_own(host: str, names: frozenset[str]) -> bool:
    """Whether a header ``Host``, with or without a port, is an IP address or one of the (lower-case) names."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


class OwnHostOnly:
    """ASGI middleware: any other ``Host`` is refused, for pages and web sockets alike."""

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app, self._names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or is_own(Headers(scope=scope).get("host", ""), self._names):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            refusal = "The console does not answer to this host name; set console.public_url to where people open it."
            await PlainTextResponse(refusal, 400)(scope, receive, send)
