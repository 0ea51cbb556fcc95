"""``POST /v1/feedback``: a judgement of an answer, attributed by the id that the client was given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from serving.gateway import http
from serving.gateway.asked import decode_body
from serving.gateway.auth import Keys
from serving.gateway.errors import CallError, invalid, unavailable
from serving.gateway.recorder import Recorder
from serving.gateway.spool import SpoolFull
from tidemill.clock import Clock
from tidemill.errors import Quarantine
from tidemill.events import Feedback
from tidemill.events.types import FeedbackKind
from tidemill.ids import CompletionIds, Routing, derived_id
from tidemill.io.secrets import AUDIT_KEYS
from tidemill.redaction import redact
from tidemill.scoring import METRIC_VERSIONS
from tidemill.settings import PipelineSettings, Settings

JUDGEMENTS = ("score", "thumb", "label", "correction")
_FIELDS = frozenset((*JUDGEMENTS, "id", "source", "metric", "metric_version"))
_THUMBS: dict[Any, float] = {True: 1.0, False: 0.0, "up": 1.0, "down": 0.0}  # True and 1 are one key
RESERVED_SOURCE = "scorer"


class FeedbackEndpoint:
    """The endpoint, an ASGI application. Answers 202 with the feedback's id once its event is kept."""

    def __init__(
        self,
        settings: Settings,
        *,
        keys: Keys,
        recorder: Recorder,
        completion_ids: CompletionIds,
        clock: Clock,
        closing: Callable[[], bool],
    ) -> None:
        self._settings, self._keys, self._recorder = settings, keys, recorder
        self._ids, self._clock, self._closing = completion_ids, clock, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            trusted = self._keys.check(http.header(scope, b"authorization"))
            raw = await http.read_json_body(scope, receive, self._settings.gateway.max_body_bytes)
            if self._closing() or not self._recorder.has_room:
                raise _not_kept()
            body = decode_body(raw)
            routing = self._attribute(body, raw)
            once = http.header(scope, b"idempotency-key").decode("latin-1")
            row = read_feedback(
                body, routing, self._settings.pipelines, now_ms=self._clock.now_ms(), once=once, trusted=trusted
            )
            self._recorder.feedback(row)
        except SpoolFull:
            await http.answer_error(
                send, unavailable("Feedback cannot be kept right now; send it again.", "spool_full")
            )
        except CallError as error:
            await http.answer_error(send, error)
        else:
            await http.answer(send, 202, msgspec.json.encode({"object": "feedback", "id": row.feedback_id}))

    def _attribute(self, body: dict[str, Any], raw: bytes) -> Routing:
        """What the quoted id says; an id that is not ours goes to the dead letters."""
        completion_id = body.get("id")
        if not isinstance(completion_id, str):
            raise invalid("id must be the id of a completion given out by this gateway.", param="id")
        try:
            routing = self._ids.read(completion_id)
            if routing.pipeline not in self._settings.pipelines:
                raise Quarantine(f"pipeline {routing.pipeline!r} is not in the settings any more")
        except Quarantine as error:
            self._recorder.dead_feedback(raw, body, error.reason, _FIELDS)
            message = f"This id names no answer of this deployment ({error.reason})."
            raise invalid(message, param="id", code="unknown_completion", http_status=404) from error
        return routing


def read_feedback(
    body: dict[str, Any],
    routing: Routing,
    pipelines: dict[str, PipelineSettings],
    *,
    now_ms: int,
    once: str = "",
    trusted: bool = False,
) -> Feedback:
    """The event of a feedback request. ``once`` is the client's Idempotency-Key, ``trusted``: it has an audit key.

    Raises CallError: 403 where, without an audit key, a source is named that some pipeline's gate trusts, or a score
    under the metric that is this pipeline's quality.
    """
    if unknown := sorted(set(body) - _FIELDS):
        raise invalid(f"Unrecognized argument: {unknown[0]}", param=unknown[0], code="unknown_parameter")
    given = [name for name in JUDGEMENTS if body.get(name) is not None]
    if len(given) != 1:
        raise invalid(f"Give exactly one of {', '.join(JUDGEMENTS)}; got {', '.join(given) or 'none'}.")
    source = _name(body, "source", "user")
    if source == RESERVED_SOURCE:
        raise invalid("source 'scorer' is reserved for the deployment's own scorer.", param="source")
    kind, score, value = _judgement(given[0], body[given[0]], source)
    capture = pipelines[routing.pipeline].capture
    if value is not None and capture == "off":
        message = f"{given[0]} holds text, and pipelines.{routing.pipeline}.capture is 'off'; send a score or a thumb."
        raise invalid(message, param=given[0], code="capture_off", http_status=422)
    if value is not None and capture == "redacted":
        value = redact(value)
    metric = "thumb" if kind == "thumb" else _name(body, "metric", "rating" if score is not None else "")
    if not trusted:
        _check_source(source, pipelines)
        if score is not None and kind != "thumb":
            _check_metric(metric, routing.pipeline, pipelines)
    return Feedback(
        feedback_id=_feedback_id(routing.call_id, source, once, kind, metric, score if value is None else value),
        call_id=routing.call_id,
        time_ms=max(now_ms, routing.call_time_ms),
        call_time_ms=routing.call_time_ms,
        pipeline=routing.pipeline,
        model_version=routing.model_version,
        variant=routing.variant,  # type: ignore[arg-type]  # authenticated: we wrote it ourselves
        kind=kind,
        source=source,
        metric=metric,
        metric_version=_name(body, "metric_version", ""),
        score=score,
        value=value,
        slices=dict(routing.slices),
    )


def _feedback_id(
    call_id: str, source: str, once: str, kind: FeedbackKind, metric: str, said: float | str | None
) -> str:
    """The same judgement of the same answer has the same id, so that a client's retry counts once in the stream.

    An Idempotency-Key decides instead of what is said. As JSON, since a source may hold any character.
    """
    cause = ("once", call_id, source, once) if once else ("said", call_id, source, kind, metric, said)
    return derived_id("feedback", msgspec.json.encode(cause).decode())


def _check_source(source: str, pipelines: dict[str, PipelineSettings]) -> None:
    for pipeline in pipelines.values():
        if source in pipeline.quality.trusted_sources:
            raise CallError(
                403,
                "permission_error",
                f"source {source!r} is trusted (quality.trusted_sources), so its feedback needs a key of "
                f"<data_dir>/secrets/{AUDIT_KEYS}; a gateway key is not enough.",
                param="source",
                code="source_needs_audit_key",
            )


def _check_metric(metric: str, pipeline: str, pipelines: dict[str, PipelineSettings]) -> None:
    if metric == pipelines[pipeline].quality.metric:
        computed = metric in METRIC_VERSIONS
        instead = ", which the scorer computes from labels; send the label or" if computed else ", which moves alarms;"
        raise CallError(
            403,
            "permission_error",
            f"{metric!r} is pipelines.{pipeline}.quality.metric{instead} name another metric. A score under this name "
            f"needs a key of <data_dir>/secrets/{AUDIT_KEYS}.",
            param="metric",
            code="metric_needs_audit_key",
        )


def _judgement(name: str, given: Any, source: str) -> tuple[FeedbackKind, float | None, str | None]:
    """Kind, score and text of what was given."""
    if name == "thumb":
        if not isinstance(given, bool | str | int | float) or given not in _THUMBS:
            raise invalid("thumb must be true, false, 'up', 'down', 1 or 0.", param="thumb")
        return "thumb", _THUMBS[given], None
    if name == "score":
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 <= given <= 1:
            raise invalid("score must be a number from 0 to 1.", param="score")
        return ("judge" if source.startswith("judge:") else "rating"), float(given), None
    text = given if isinstance(given, str) else msgspec.json.encode(given).decode()
    return ("label" if name == "label" else "correction"), None, text


def _name(body: dict[str, Any], field: str, default: str) -> str:
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, str) or not 1 <= len(value) <= 128:
        raise invalid(f"{field} must be a text of 1 to 128 characters.", param=field)
    return value


def _not_kept() -> CallError:
    return unavailable("Feedback cannot be kept right now; send it again.", "spool_full")
