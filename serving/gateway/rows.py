"""Makes the events of a call (pure): what is kept of it under the pipeline's capture setting."""

from __future__ import annotations

from typing import Literal

import msgspec

from serving.gateway.asked import Asked
from serving.gateway.price import cost_micros
from serving.gateway.upstream import Answer
from tidemill.answers import CALLS_TOOLS, answer_features
from tidemill.events import InferenceRequest, InferenceResponse, Message
from tidemill.events.types import Status, Variant
from tidemill.ids import derived_id
from tidemill.redaction import redact
from tidemill.settings import PipelineSettings
from tidemill.settings.model import EngineSettings
from tidemill.slices import by_dimension
from tidemill.text import question_features, word_buckets

Capture = Literal["full", "redacted", "off"]
AGAIN = "agreement"
"""The reason of an answer that was asked for to be compared with the client's; its text is not kept."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call as it arrived."""

    call_id: str
    time_ms: int
    arrived_s: float
    pipeline: str
    session: str
    tenant: str
    sliced: dict[str, str] = {}
    """Its attributes by which the pipeline's traffic is sliced, as the client sent them."""
    input_language: str = ""
    """Of what the users said, as soon as that is read."""


class Server(msgspec.Struct, frozen=True, kw_only=True):
    """Which version answers, and why."""

    model_version: str
    variant: Variant
    model: str
    engine: str
    epoch: int
    reason: str


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How an answer ended."""

    status: Status
    error_type: str = ""
    http_status: int = 200


def request_row(call: Call, asked: Asked | None, settings: PipelineSettings) -> InferenceRequest:
    """The request's event; ``asked`` is None when the body was refused. Features are taken before redaction."""
    capture: Capture = settings.capture
    texts = asked.users_texts if asked else []
    messages = None
    if asked is not None and capture != "off":
        messages = tuple(
            Message(role=kept(message.role, capture) or "", content=kept(message.content, capture) or "")
            for message in asked.messages
        )
    return InferenceRequest(
        call_id=call.call_id,
        time_ms=call.time_ms,
        pipeline=call.pipeline,
        gen_ai_conversation_id=kept_session(call.session, capture),
        tenant=kept_tenant(call.tenant, capture),
        gen_ai_request_model=call.pipeline,
        gen_ai_input_messages=messages,
        parameters=dict(asked.parameters) if asked else {},
        prompt_version=settings.prompt_version,
        attributes=kept_attributes(asked.attributes if asked else {}, capture),
        input_features=question_features(asked.messages) if asked else {},
        input_words=word_buckets(texts),
        input_language=call.input_language,
    )


def response_row(
    call: Call,
    answer_id: str,
    server: Server,
    ending: Ending,
    answer: Answer,
    *,
    now_ms: int,
    now_s: float,
    settings: PipelineSettings,
    engine: EngineSettings,
) -> InferenceResponse:
    """The answer's event: one finished row, whatever the outcome."""
    assembly = answer.assembly
    text, again = assembly.text, server.reason == AGAIN
    tokens = assembly.input_tokens, assembly.cached_tokens, assembly.output_tokens
    return InferenceResponse(
        call_id=call.call_id,
        answer_id=answer_id,
        role="shadow" if server.variant == "shadow" else "client",
        time_ms=max(now_ms, call.time_ms),
        call_time_ms=call.time_ms,
        pipeline=call.pipeline,
        gen_ai_conversation_id=kept_session(call.session, settings.capture),
        tenant=kept_tenant(call.tenant, settings.capture),
        prompt_version=settings.prompt_version,
        attributes=kept_attributes(call.sliced, settings.capture) or None,
        input_language=call.input_language,
        gen_ai_provider_name=engine.provider,
        gen_ai_request_model=server.model,
        gen_ai_response_model=assembly.response_model,
        model_version=server.model_version,
        variant=server.variant,
        route_epoch=server.epoch,
        route_reason=server.reason,
        status=ending.status,
        error_type=ending.error_type,
        http_status=ending.http_status,
        gen_ai_response_finish_reason=assembly.finish_reason,
        gen_ai_usage_input_tokens=tokens[0],
        gen_ai_usage_cached_tokens=tokens[1],
        gen_ai_usage_output_tokens=tokens[2],
        queue_ms=answer.queue_ms,
        ttft_ms=answer.ttft_ms,
        tpot_ms=answer.tpot_ms,
        e2e_ms=max(0.0, (now_s - answer.arrived_s) * 1000),
        cost_micros=cost_micros(engine, *tokens),
        mean_logprob=assembly.mean_logprob,
        gen_ai_output_text=kept(text, settings.capture) if answer.first_s is not None and not again else None,
        output_features=_output_features(answer, ending, settings),
    )


def _output_features(answer: Answer, ending: Ending, settings: PipelineSettings) -> dict[str, float]:
    """Taken before redaction. What the engine marks as a refusal is one, whatever its words."""
    assembly, check = answer.assembly, settings.output_format.check
    reason = CALLS_TOOLS[0] if assembly.calls_tools else assembly.finish_reason
    found = answer_features(assembly.text or assembly.refusal, ending.status, reason, check)
    if answer.agreement is not None:
        found["agreement"] = answer.agreement
    return found | {"refusal": 1.0} if assembly.refusal else found


def slices_of(call: Call, settings: PipelineSettings) -> dict[str, str]:
    """Of which slices a call is, by dimension: as its answers' rows say it."""
    attributes = kept_attributes(call.sliced, settings.capture)
    tenant = kept_tenant(call.tenant, settings.capture)
    return by_dimension(
        settings.slices,
        attributes,
        tenant=tenant,
        prompt_version=settings.prompt_version,
        input_language=call.input_language,
    )


def kept(text: str, capture: Capture) -> str | None:
    """What may be kept of a text."""
    if capture == "off":
        return None
    return text if capture == "full" else redact(text)


def kept_attributes(attributes: dict[str, str], capture: Capture) -> dict[str, str]:
    """What may be kept of them."""
    if capture == "off":
        return {}
    return {kept(name, capture) or "": kept(value, capture) or "" for name, value in attributes.items()}


def kept_session(session: str, capture: Capture) -> str:
    """A session's name, unless it is an address or number that may not be kept: then an id that stands for it."""
    return _kept_name("session", session, capture)


def kept_tenant(tenant: str, capture: Capture) -> str:
    """A tenant's name, under the same rule as a session's."""
    return _kept_name("tenant", tenant, capture)


def _kept_name(what: str, name: str, capture: Capture) -> str:
    return name if capture == "full" or redact(name) == name else derived_id(what, name)
