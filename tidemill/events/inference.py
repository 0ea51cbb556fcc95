"""The public contract: what any producer may write to the inference topics.

Field names follow OpenTelemetry's GenAI semantic conventions where one exists (dots become
underscores). Unknown extra fields are accepted and ignored; wrong types are not. Text fields are
None where the pipeline's content capture is off.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from tidemill.events.types import (
    Count,
    DurationMs,
    FeedbackKind,
    Id,
    Language,
    Micros,
    Ms,
    Name,
    SchemaVersion,
    Status,
    Unit,
    Uuid,
    Variant,
)


class Message(Struct, frozen=True, kw_only=True):
    """One message of a conversation."""

    role: Name
    content: str


class InferenceRequest(Struct, frozen=True, kw_only=True):
    """What was asked. Counts at ``time_ms``, the moment the call arrived."""

    schema: SchemaVersion = 1
    call_id: Uuid
    time_ms: Ms
    pipeline: Name
    gen_ai_conversation_id: Id
    tenant: str = ""
    gen_ai_operation_name: Name = "chat"
    gen_ai_request_model: str = ""
    gen_ai_input_messages: tuple[Message, ...] | None = None
    parameters: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    prompt_version: str = ""
    attributes: dict[str, str] = field(default_factory=dict)
    input_features: dict[str, float] = field(default_factory=dict)
    input_words: dict[int, int] = field(default_factory=dict)
    """Counts of the words of the users' text by hash bucket (tidemill.text): content-free."""
    input_language: Language = ""
    """Of the users' text (tidemill.language)."""


class InferenceResponse(Struct, frozen=True, kw_only=True):
    """How one answer ended: one finished, immutable row per answer, whatever the outcome.

    A shadow answer has an ``answer_id`` of its own and role ``shadow``; a client's answer has its call's id.
    Counts at ``time_ms``, the moment it ended.
    """

    schema: SchemaVersion = 1
    call_id: Uuid
    answer_id: Uuid
    role: Literal["client", "shadow"] = "client"
    time_ms: Ms
    call_time_ms: Ms
    pipeline: Name
    gen_ai_conversation_id: Id
    tenant: str = ""
    prompt_version: str = ""
    attributes: dict[str, str] | None = None
    """Those of its call that the pipeline's ``slices`` name (the gateway leaves the others out); ``prompt_version`` and
    ``input_language`` too are its call's. An answer counts in the slices that it names itself: no call is looked up."""
    input_language: Language = ""
    gen_ai_operation_name: Name = "chat"
    gen_ai_provider_name: str = ""
    gen_ai_request_model: str = ""
    gen_ai_response_model: str = ""
    model_version: str
    """The version in the registry that served it, ``<pipeline>-v<N>``."""
    variant: Variant
    route_epoch: Count = 0
    route_reason: str = ""
    status: Status
    error_type: str = ""
    http_status: Count = 0
    gen_ai_response_finish_reason: str = ""
    gen_ai_usage_input_tokens: Count | None = None
    gen_ai_usage_cached_tokens: Count | None = None
    gen_ai_usage_output_tokens: Count | None = None
    queue_ms: DurationMs | None = None
    ttft_ms: DurationMs | None = None
    tpot_ms: DurationMs | None = None
    e2e_ms: DurationMs | None = None
    """From arrival to the last byte; None where a producer has no timings (replayed traces)."""
    cost_micros: Micros | None = None
    """Millionths of ``cost_currency``; None when unpriced."""
    cost_currency: str = "USD"
    cache_hit: bool = False
    mean_logprob: float | None = None
    gen_ai_output_text: str | None = None
    output_features: dict[str, float] = field(default_factory=dict)


class Feedback(Struct, frozen=True, kw_only=True):
    """A judgement of one call, or of one of its answers. Counts at ``time_ms``, when it was given.

    ``score`` counts at once in the stream. A bare ``label`` or ``correction`` (``value``, no score) is
    joined with every answer of its call by the scorer and comes back as kind ``score`` of source ``scorer``.
    """

    schema: SchemaVersion = 1
    feedback_id: Id
    call_id: Uuid
    answer_id: Uuid | None = None
    """The judged answer; None means the answer the client saw."""
    time_ms: Ms
    call_time_ms: Ms
    pipeline: Name
    model_version: str = ""
    variant: Variant = "champion"
    kind: FeedbackKind
    source: Name
    """Who judged: ``user``, ``client``, ``audit``, ``judge:<model>``, ``scorer``."""
    source_feedback_id: str = ""
    """For scores made from a label: that label's feedback_id."""
    label_source: str = ""
    """For scores made from a label: who gave the label."""
    metric: str = ""
    metric_version: str = ""
    score: Unit | None = None
    value: str | None = None
    slices: dict[str, str] = field(default_factory=dict)
    """In which slices of its pipeline the judged call is: values by dimension (``tenant``, ``attributes.language``). A
    dimension that is missing is not known: the score then counts in none of its slices."""
