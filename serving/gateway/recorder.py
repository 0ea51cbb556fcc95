"""Appends events to the spool and counts them: the one way out for everything the gateway knows of a call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

from serving.gateway.asked import Asked
from serving.gateway.drain import Envelope, limit, pack, size
from serving.gateway.errors import invalid
from serving.gateway.fitting import dead_letter, fitting
from serving.gateway.rows import Call, Ending, Server, request_row, response_row
from serving.gateway.spool import Spool
from serving.gateway.upstream import Answer
from serving.versions import Answering
from tidemill.clock import Clock
from tidemill.codec import encode
from tidemill.events import Feedback
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK, REQUESTS, RESPONSES

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BY_VERSION = ("pipeline", "version", "variant")

CALLS = Counter("tidemill_gateway_calls", "Finished answers.", (*_BY_VERSION, "status"))
TTFT = Histogram("tidemill_gateway_ttft_seconds", "Time to first token.", _BY_VERSION, buckets=_SECONDS)
E2E = Histogram("tidemill_gateway_e2e_seconds", "Time from arrival to the end.", _BY_VERSION, buckets=_SECONDS)
TOKENS = Counter("tidemill_gateway_output_tokens", "Tokens written.", _BY_VERSION)
IN_FLIGHT = Gauge("tidemill_gateway_in_flight", "Calls being answered.", ("pipeline",))
SHADOWS_DROPPED = Counter(
    "tidemill_gateway_shadows_dropped", "Shadow answers not asked for because something waited.", ("pipeline",)
)
SPOOL_PENDING = Gauge("tidemill_gateway_spool_pending", "Events in the local file not yet in Kafka.")


class Recorder:
    """Use it in the event loop. Every method raises SpoolFull when nothing more can be kept.

    What it appends always fits its topic: one record that Kafka never takes would hold up all behind it.
    """

    def __init__(self, settings: Settings, spool: Spool, clock: Clock) -> None:
        self._settings, self._spool, self._clock = settings, spool, clock
        self._answering = Answering(settings)
        SPOOL_PENDING.set_function(lambda: spool.pending_records)

    @property
    def has_room(self) -> bool:
        """Whether new calls may be taken on."""
        return self._spool.has_room

    def request(self, call: Call, asked: Asked | None, version: str) -> None:
        """What was asked, and of which version."""
        row = request_row(call, asked, self._answering.by(call.pipeline, version))
        self._keep(Envelope(REQUESTS.name, call.call_id, fitting(row)))

    def response(self, call: Call, answer_id: str, server: Server, ending: Ending, answer: Answer) -> None:
        """How one answer ended."""
        row = response_row(
            call,
            answer_id,
            server,
            ending,
            answer,
            now_ms=self._clock.now_ms(),
            now_s=self._clock.monotonic_s(),
            settings=self._answering.by(call.pipeline, server.model_version),
            engine=self._settings.engines[server.engine],
        )
        self._keep(Envelope(RESPONSES.name, call.call_id, fitting(row)))
        labels = (call.pipeline, server.model_version, server.variant)
        CALLS.labels(*labels, ending.status).inc()
        if row.e2e_ms is not None:
            E2E.labels(*labels).observe(row.e2e_ms / 1000)
        if row.ttft_ms is not None:
            TTFT.labels(*labels).observe(row.ttft_ms / 1000)
        TOKENS.labels(*labels).inc(row.gen_ai_usage_output_tokens or 0)

    def feedback(self, row: Feedback) -> None:
        """A judgement. Raises CallError 413 where it is larger than its topic holds."""
        self._keep(Envelope(FEEDBACK.name, row.call_id, encode(row)))

    def dead_feedback(self, raw: bytes, body: Mapping[str, Any], reason: str, known: frozenset[str]) -> None:
        """Feedback that names no answer of ours. Its body is kept only where every pipeline captures in full.

        Whose it was cannot be known, so the strictest setting counts. ``known`` are the names of feedback's fields.
        """
        whole = all(pipeline.capture == "full" for pipeline in self._settings.pipelines.values())
        self._keep(dead_letter(raw, body, reason, whole=whole, known=known))

    def _keep(self, envelope: Envelope) -> None:
        if (given := size(envelope)) > (most := limit(envelope.topic)):
            message = f"The event would have {given} bytes, its topic holds {most}; shorten the text."
            raise invalid(message, code="event_too_large", http_status=413)
        self._spool.append([pack(envelope)])
