"""Reads a chat completion request: what is passed on, what is kept for the event, what is refused (pure)."""

from __future__ import annotations

from typing import Any

import msgspec

from serving.gateway.errors import CallError, invalid
from tidemill.events import Message
from tidemill.ids import derived_id
from tidemill.settings import PipelineSettings
from tidemill.slices import ATTRIBUTE

PASSED_ON = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "stop",
        "seed",
        "n",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning_effort",
        "top_k",
        "min_p",
        "repetition_penalty",
        "min_tokens",
        "ignore_eos",
        "structured_outputs",
    }
)
"""Fields an engine may see. Anything that could steer the engine itself (adapters, templates, priority) is not here."""
KEPT_HERE = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "user",
        "metadata",
        "store",
        "service_tier",
        "safety_identifier",
        "prompt_cache_key",
    }
)
_RECORDED = frozenset(
    {
        "temperature",
        "top_p",
        "max_tokens",
        "max_completion_tokens",
        "seed",
        "n",
        "presence_penalty",
        "frequency_penalty",
        "top_k",
        "min_p",
    }
)
_ONCE = frozenset({"n", "logprobs", "top_logprobs", "top_p", "top_k", "min_p"})
"""Fields that a call which is asked once more does without."""
MAX_NAME = 128
MAX_CHOICES = 8


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """One request, checked."""

    messages: tuple[Message, ...]
    """As the client sent them, texts only."""
    upstream: dict[str, Any]
    """What the engine is asked, without ``model``."""
    parameters: dict[str, int | float | bool]
    """Numbers and switches only: a text could hold anything."""
    stream: bool
    include_usage: bool
    choices: int
    attributes: dict[str, str]
    hide_logprobs: bool = False
    """Log-probabilities are asked for by us, for the quality estimate; the client did not ask."""
    headers: dict[str, str] = {}
    """What the upstream is told besides, as HTTP headers."""
    prompted: bool = False
    """The first message that is sent on is our system prompt; the client sent none."""

    @property
    def users_texts(self) -> list[str]:
        """The users' own words."""
        return [message.content for message in self.messages if message.role == "user"]


def decode_body(body: bytes) -> dict[str, Any]:
    """The request as a JSON object. Raises CallError."""
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(f"The body is not valid JSON: {error}", code="invalid_json") from error
    if not isinstance(found, dict):
        raise invalid("The body must be a JSON object.", code="invalid_json")
    return found


def session_of(header: str, body: dict[str, Any], call_id: str) -> str:
    """Header ``X-Session-Id``, else the body's ``user``, else the call is a session of its own."""
    user = body.get("user")
    given = header or (user if isinstance(user, str) else "")
    if not given:
        return call_id
    return given if len(given) <= MAX_NAME else derived_id("session", given)


def parse(body: dict[str, Any], pipeline: PipelineSettings) -> Asked:
    """The checked request, with the pipeline's system prompt and defaults filled in. Raises CallError."""
    unknown = sorted(set(body) - PASSED_ON - KEPT_HERE)
    if unknown:
        raise invalid(f"Unrecognized request argument: {unknown[0]}", param=unknown[0], code="unknown_parameter")
    messages = _messages(body.get("messages"))
    upstream = {name: body[name] for name in PASSED_ON if body.get(name) is not None}
    if "max_tokens" not in upstream and "max_completion_tokens" not in upstream:
        upstream["max_tokens"] = pipeline.max_tokens
    upstream.setdefault("temperature", pipeline.temperature)
    own_prompt = any(message.role in ("system", "developer") for message in messages)
    upstream |= {"messages": list(body["messages"]), "stream": True, "stream_options": {"include_usage": True}}
    hide_logprobs = pipeline.quality.estimate and upstream.get("logprobs") is not True
    if hide_logprobs:
        upstream["logprobs"] = True
    choices = body.get("n") or 1
    if not isinstance(choices, int) or not 1 <= choices <= MAX_CHOICES:
        raise invalid(f"n must be a whole number from 1 to {MAX_CHOICES}.", param="n")
    options = body.get("stream_options") or {}
    asked = Asked(
        messages=messages,
        upstream=upstream,
        parameters={k: v for k, v in upstream.items() if k in _RECORDED and _is_number(v)},
        stream=_flag(body, "stream"),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        choices=choices,
        attributes=_attributes(body.get("metadata")),
        hide_logprobs=hide_logprobs,
    )
    told = pipeline.upstream_headers or (pipeline.system_prompt and not own_prompt)
    return asked_as(asked, pipeline) if told else asked


def asked_as(asked: Asked, pipeline: PipelineSettings) -> Asked:
    """The same request under the prompt of ``pipeline`` (see ``PipelineSettings.as_version``), told what that says."""
    sent = asked.upstream["messages"][1 if asked.prompted else 0 :]
    own_prompt = any(message.role in ("system", "developer") for message in asked.messages)
    prompted = bool(pipeline.system_prompt) and not own_prompt
    if prompted:
        sent = [{"role": "system", "content": pipeline.system_prompt}, *sent]
    return msgspec.structs.replace(
        asked,
        upstream=asked.upstream | {"messages": sent},
        headers=pipeline.upstream_headers,
        prompted=prompted,
    )


def asked_again(asked: Asked, seed: int) -> Asked:
    """The same request for an answer by chance, as likely as the model holds it to be."""
    left = {name: value for name, value in asked.upstream.items() if name not in _ONCE}
    return msgspec.structs.replace(asked, upstream=left | {"temperature": 1.0, "seed": seed})


def _is_number(value: Any) -> bool:
    """Whether it is a number (or switch) that an event can hold: whole ones have 64 bits in JSON's readers."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 2**63)


def _flag(body: dict[str, Any], name: str) -> bool:
    value = body.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{name} must be true or false.", param=name)
    return bool(value)


def _messages(given: Any) -> tuple[Message, ...]:
    if not isinstance(given, list) or not given:
        raise invalid("messages must be a list with at least one message.", param="messages")
    return tuple(_message(index, message) for index, message in enumerate(given))


def _message(index: int, given: Any) -> Message:
    where = f"messages[{index}]"
    if not isinstance(given, dict) or not isinstance(given.get("role"), str) or not 1 <= len(given["role"]) <= 32:
        raise invalid(f"{where} must be an object with a role and a content.", param=where)
    content = given.get("content")
    if content is None:
        content = ""  # an assistant's message that only calls tools
    elif isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        content = "\n".join(part for part in parts if isinstance(part, str))
    elif not isinstance(content, str):
        raise invalid(f"{where}.content must be text or a list of parts.", param=f"{where}.content")
    return Message(role=given["role"], content=content)


def _attributes(given: Any) -> dict[str, str]:
    if given is None:
        return {}
    if not isinstance(given, dict) or len(given) > 16 or not all(map(_is_short, given.items())):
        raise invalid("metadata must hold at most 16 short texts by name.", param="metadata")
    return dict(given)


def sliced_by(metadata: Any, pipeline: PipelineSettings) -> dict[str, str]:
    """The attributes in a body's ``metadata`` by which the pipeline's traffic is sliced; none where it is no good."""
    names = [name.removeprefix(ATTRIBUTE) for name in pipeline.slices if name.startswith(ATTRIBUTE)]
    try:
        given = _attributes(metadata) if names else {}
    except CallError:
        return {}
    return {name: given[name] for name in names if name in given}


def _is_short(item: tuple[Any, Any]) -> bool:
    name, value = item
    return isinstance(name, str) and isinstance(value, str) and len(name) <= 64 and len(value) <= 512
