"""One user call through the gateway, as an app would make it, and the feedback that follows."""

from __future__ import annotations

from dataclasses import dataclass

import aiohttp
import msgspec

from producers.traffic.habits import AUDIT, Opinion

TROUBLE = (aiohttp.ClientError, TimeoutError, ValueError, KeyError, msgspec.MsgspecError)


@dataclass(frozen=True)
class Answer:
    """What the client got: the completion id and the text, or the reason why not."""

    completion_id: str
    text: str
    failure: str = ""

    @property
    def call_id(self) -> str:
        """The call's UUID, as it is in the events."""
        digits = self.completion_id.removeprefix("chatcmpl-")[:32]
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


async def ask(client: aiohttp.ClientSession, pipeline: str, session: str, text: str, *, stream: bool) -> Answer:
    """Make one call; a failure is an answer with its reason, never an exception."""
    body = {"model": pipeline, "messages": [{"role": "user", "content": text}], "stream": stream}
    try:
        async with client.post("/v1/chat/completions", json=body, headers={"X-Session-Id": session}) as reply:
            if reply.status != 200:
                return Answer("", "", f"http {reply.status}")
            if stream:
                return await _collect(reply)
            said = msgspec.json.decode(await reply.read())
            return Answer(said["id"], said["choices"][0]["message"]["content"] or "")
    except TROUBLE as error:
        return Answer("", "", type(error).__name__)


async def _collect(reply: aiohttp.ClientResponse) -> Answer:
    completion_id, text = "", ""
    async for line in reply.content:
        if not line.startswith(b"data:"):
            continue
        data = line.removeprefix(b"data:").strip()
        if data == b"[DONE]":
            return Answer(completion_id, text)
        chunk = msgspec.json.decode(data)
        if "error" in chunk:
            return Answer(completion_id, text, "error in the stream")
        completion_id = chunk.get("id", completion_id)
        for choice in chunk.get("choices", ()):
            text += choice.get("delta", {}).get("content") or ""
    return Answer(completion_id, text, "stream cut")


async def tell(client: aiohttp.ClientSession, answer: Answer, opinion: Opinion, *, audit_key: str) -> bool:
    """Give one piece of feedback, a reviewer's with the audit key; False where the gateway did not take it."""
    body: dict[str, str | float] = {"id": answer.completion_id, "source": opinion.source}
    if opinion.value is not None:
        body[opinion.kind] = opinion.value
    if opinion.score is not None:
        body[opinion.kind] = opinion.score
    headers = {"Authorization": f"Bearer {audit_key}"} if opinion.source == AUDIT else {}
    try:
        async with client.post("/v1/feedback", json=body, headers=headers) as reply:
            return reply.status < 300
    except TROUBLE:
        return False
