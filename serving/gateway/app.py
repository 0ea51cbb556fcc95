"""The routes that clients may reach. Nothing else exists: no engine route, no metrics, no documentation pages."""

from __future__ import annotations

import logging

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from serving.gateway.auth import Keys
from serving.gateway.errors import CallError, invalid, where
from tidemill.settings import Settings

log = logging.getLogger(__name__)
OWNER = "tidemill"


def make_app(settings: Settings, keys: Keys, chat: ASGIApp, feedback: ASGIApp) -> Starlette:
    """The public application."""

    def model(name: str) -> dict[str, object]:
        return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}

    async def models(request: Request) -> Response:
        keys.check(request.headers.get("authorization", "").encode("latin-1"))
        return _json({"object": "list", "data": [model(name) for name in settings.pipelines]})

    async def one_model(request: Request) -> Response:
        keys.check(request.headers.get("authorization", "").encode("latin-1"))
        name = request.path_params["name"]
        if name not in settings.pipelines:
            raise invalid(f"The model {name!r} does not exist.", param="model", code="model_not_found", http_status=404)
        return _json(model(name))

    return Starlette(
        routes=[
            Route("/v1/chat/completions", chat, methods=["POST"]),
            Route("/v1/feedback", feedback, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
            Route("/v1/models/{name}", one_model, methods=["GET"]),
        ],
        exception_handlers={CallError: _call_error, HTTPException: _http_error, Exception: _unexpected},
    )


def _json(body: object) -> Response:
    return Response(msgspec.json.encode(body), media_type="application/json")


def _error(error: CallError) -> Response:
    return Response(error.body(), error.http_status, media_type="application/json")


async def _call_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, CallError)
    return _error(error)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        message = f"{request.method} is not allowed on {request.url.path}."
    else:
        message = f"There is no {request.url.path} here; try /v1/chat/completions, /v1/models or /v1/feedback."
    return _error(invalid(message, code="unknown_url", http_status=error.status_code))


async def _unexpected(_: Request, error: Exception) -> Response:
    log.error("a request failed inside the gateway: %s", where(error))
    return _error(CallError(500, "server_error", "The gateway failed; its log says why.", code="internal_error"))
