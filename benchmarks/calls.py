"""Made calls as bytes on the wire: about a kilobyte an event, some half a microsecond each."""

from __future__ import annotations

from tidemill.codec import encode
from tidemill.events import InferenceRequest, InferenceResponse, Message
from tidemill.events.types import Status, Variant

ID_MARK = "00000000-0000-7000-8000-000000000000"
TIME_MARK = 1_111_111_111_111
_ASKED = "Could you move the budget meeting with Anna to Tuesday at half past three, in room 4, for an hour? " * 3
_ANSWERED = "tue 15:30 60m budget Anna @ room 4; the invitation goes out to everybody who was on the old one. " * 3


class Call:
    """The two events of the calls of one series; ``request`` and ``response`` fill in id and time."""

    def __init__(
        self,
        pipeline: str,
        model_version: str,
        *,
        variant: Variant = "champion",
        status: Status = "ok",
        e2e_ms: float = 412.5,
    ) -> None:
        self.pipeline = pipeline
        self._request = _parts(encode(_request(pipeline)))
        self._response = _parts(encode(_response(pipeline, model_version, variant, status, e2e_ms)))

    def request(self, call_id: bytes, time_ms: int) -> bytes:
        """A message of inference.requests."""
        return _filled(self._request, call_id, time_ms)

    def response(self, call_id: bytes, time_ms: int) -> bytes:
        """A message of inference.responses."""
        return _filled(self._response, call_id, time_ms)


def call_id(number: int) -> bytes:
    """A UUIDv7 in form, different for each number."""
    return b"0197c1de-%04x-7000-8000-%012x" % (number >> 48 & 0xFFFF, number & 0xFFFFFFFFFFFF)


def _request(pipeline: str) -> InferenceRequest:
    return InferenceRequest(
        call_id=ID_MARK,
        time_ms=TIME_MARK,
        pipeline=pipeline,
        gen_ai_conversation_id="session-0001",
        tenant="tenant-1",
        gen_ai_request_model=pipeline,
        gen_ai_input_messages=(
            Message(role="system", content="Turn the message into a schedule entry."),
            Message(role="user", content=_ASKED),
        ),
        parameters={"temperature": 0.0, "max_tokens": 24},
        prompt_version="v3",
        attributes={"region": "eu-west", "app": "calendar"},
    )


def _response(pipeline: str, version: str, variant: Variant, status: Status, e2e_ms: float) -> InferenceResponse:
    return InferenceResponse(
        call_id=ID_MARK,
        answer_id=ID_MARK,
        time_ms=TIME_MARK,
        call_time_ms=TIME_MARK,
        pipeline=pipeline,
        gen_ai_conversation_id="session-0001",
        tenant="tenant-1",
        gen_ai_provider_name="vllm",
        gen_ai_request_model=pipeline,
        gen_ai_response_model="base",
        model_version=version,
        variant=variant,
        route_epoch=7,
        route_reason="weights",
        status=status,
        http_status=200 if status == "ok" else 502,
        gen_ai_response_finish_reason="stop",
        gen_ai_usage_input_tokens=118,
        gen_ai_usage_cached_tokens=64,
        gen_ai_usage_output_tokens=37,
        queue_ms=1.25,
        ttft_ms=92.5,
        tpot_ms=8.75,
        e2e_ms=e2e_ms,
        cost_micros=310,
        mean_logprob=-0.42,
        gen_ai_output_text=_ANSWERED,
        output_features={"chars": 288.0, "words": 54.0},
    )


def _parts(wire: bytes) -> list[bytes]:
    """The event cut at its marks; between the parts go ids and times, in the order they stand."""
    marked = wire.replace(b'"%s"' % ID_MARK.encode(), b"\0i\0").replace(b"%d" % TIME_MARK, b"\0t\0")
    return marked.split(b"\0")


def _filled(parts: list[bytes], call_id: bytes, time_ms: int) -> bytes:
    values = {b"i": b'"' + call_id + b'"', b"t": b"%d" % time_ms}
    return b"".join(values.get(part, part) for part in parts)
