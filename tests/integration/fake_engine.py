"""An engine that speaks vLLM's HTTP interface and answers by echo: the real one runs in the loop suite.

The last message steers it: ``cut``, ``hang``, ``crawl`` (slow tokens), ``refuse`` (400), ``broken`` (500), ``doubt``
(by chance it says more); all else is echoed word by word.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any

from aiohttp import web


class FakeEngine:
    """Serves in a thread; ``loaded`` are its models, ``bodies`` what it was asked, ``headers`` with which headers."""

    def __init__(self, loaded: set[str], *, port: int = 0) -> None:
        self.loaded = loaded
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.delay_s = 0.0
        self.page = ""
        """What /metrics shows."""
        self.voice: Callable[[str], str] = str
        """What becomes of the echo where the answer is not streamed."""
        self.signature: dict[str, str] = {}
        """Further fields of an answer, streamed or not (``system_fingerprint``), or others (``model``)."""
        self.usage = False
        """Whether an answer that is not streamed says how many tokens it took: a word each."""
        self.port = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/load_lora_adapter", self._load)
        app.router.add_post("/v1/unload_lora_adapter", self._unload)
        app.router.add_get("/health", self._health)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]

    async def _health(self, _: web.Request) -> web.Response:
        return web.Response()

    async def _metrics(self, _: web.Request) -> web.Response:
        return web.Response(text=self.page)

    async def _models(self, _: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": name} for name in sorted(self.loaded)]})

    async def _load(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if name in self.loaded:
            return _error(400, f"The lora adapter '{name}' has already been loaded.")
        self.loaded.add(name)
        return web.Response(text=f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if name not in self.loaded:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        self.loaded.discard(name)
        return web.Response(text="Success")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        model, wish = body["model"], str(body["messages"][-1]["content"])
        if model not in self.loaded:
            return _error(404, f"The model `{model}` does not exist.")
        if wish == "refuse":
            return _error(400, f"{model}: this prompt is too long.")
        if wish == "broken":
            return _error(500, "boom")
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        if not body.get("stream"):
            message = {"role": "assistant", "content": self.voice(wish)}
            choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
            told = {"model": model, "choices": choices} | self.signature
            if self.usage:
                told["usage"] = {"prompt_tokens": 10, "completion_tokens": len(message["content"].split())}
            return web.json_response(told)
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        if wish == "hang":
            await asyncio.sleep(30)
        head = {
            "id": "up",
            "object": "chat.completion.chunk",
            "created": 1_700_000_000,
            "model": model,
        } | self.signature
        words = wish.split(" ")
        if wish.startswith("doubt") and body.get("temperature"):
            words.append("perhaps")
        for index, word in enumerate(words):
            delta = {"content": word if index == 0 else " " + word} | ({"role": "assistant"} if index == 0 else {})
            logprobs = {"content": [{"token": word, "logprob": -0.5}]} if body.get("logprobs") else None
            await _send(answer, head | {"choices": [{"index": 0, "delta": delta, "logprobs": logprobs}]})
            if wish == "cut":
                request.transport.close()  # type: ignore[union-attr]
                return answer
            if wish.startswith("crawl"):
                await asyncio.sleep(0.2)
        await _send(answer, head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        usage = {"prompt_tokens": 10, "completion_tokens": len(words), "total_tokens": 10 + len(words)}
        await _send(answer, head | {"choices": [], "usage": usage | {"prompt_tokens_details": {"cached_tokens": 4}}})
        await answer.write(b"data: [DONE]\n\n")
        await answer.write_eof()
        return answer


async def _send(answer: web.StreamResponse, chunk: dict[str, Any]) -> None:
    await answer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "BadRequestError", "code": status}}, status=status)
