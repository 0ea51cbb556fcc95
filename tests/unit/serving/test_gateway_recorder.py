"""What the gateway appends fits its topic, whatever a client sends; what it may not keep it does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from serving.gateway.drain import Envelope, limit, size
from serving.gateway.errors import CallError
from serving.gateway.feedback import _FIELDS, read_feedback
from serving.gateway.fitting import fitting
from serving.gateway.recorder import Recorder
from serving.gateway.spool import Spool
from tidemill.clock import ManualClock
from tidemill.events import InferenceRequest, InferenceResponse, Message
from tidemill.ids import Routing, uuid7
from tidemill.settings import PipelineSettings, Settings
from tidemill.settings.model import EngineSettings, GatewaySettings
from tidemill.topics import FEEDBACK, REQUESTS, RESPONSES

CALL_ID = uuid7(1_700_000_000_000, b"0123456789")
HUGE = "\x01" * 4_000_000
FULL = PipelineSettings(engine="main", champion="talk-v1")
PRIVATE = PipelineSettings(engine="main", champion="private-v1", capture="redacted")
FORGED = "chatcmpl-" + "0" * 32 + "forged"


def recorder(folder: Path, **pipelines: PipelineSettings) -> tuple[Recorder, Spool]:
    settings = Settings(engines={"main": EngineSettings()}, pipelines=pipelines)
    spool = Spool(folder, 1 << 30, new_id=lambda: "spool")
    return Recorder(settings, spool, ManualClock(1)), spool


def appended(spool: Spool) -> list[Envelope]:
    return [msgspec.msgpack.decode(p, type=Envelope) for p in spool.read(spool.position).payloads]


def request(**fields: Any) -> InferenceRequest:
    given: dict[str, Any] = {"call_id": CALL_ID, "time_ms": 1, "pipeline": "talk", "gen_ai_conversation_id": "s"}
    return InferenceRequest(**(given | fields))


def test_no_request_is_too_large_for_its_topic() -> None:
    said = (Message(role="user", content=HUGE),)
    for row in (
        request(gen_ai_input_messages=said),
        request(parameters={"seed": HUGE}),
        request(attributes={"a": HUGE}),
        request(gen_ai_input_messages=said, tenant=HUGE, attributes={HUGE: HUGE}, prompt_version=HUGE),
    ):
        data = fitting(row)
        assert size(Envelope(REQUESTS.name, CALL_ID, data)) <= limit(REQUESTS.name)
        assert "too long" in REQUESTS.decoder()(data).attributes["tidemill.text"]


def test_no_response_is_too_large_for_its_topic() -> None:
    row = InferenceResponse(
        call_id=CALL_ID,
        answer_id=CALL_ID,
        time_ms=1,
        call_time_ms=1,
        pipeline="talk",
        gen_ai_conversation_id="s",
        model_version="talk-v1",
        variant="champion",
        status="ok",
        gen_ai_response_model=HUGE,
        gen_ai_response_finish_reason=HUGE,
        gen_ai_output_text=HUGE,
    )
    data = fitting(row)
    assert size(Envelope(RESPONSES.name, CALL_ID, data)) <= limit(RESPONSES.name)
    assert RESPONSES.decoder()(data).gen_ai_output_text is None


def test_feedback_too_large_for_its_topic_is_refused(tmp_path: Path) -> None:
    keeper, spool = recorder(tmp_path, talk=FULL)
    routing = Routing(CALL_ID, "talk", "talk-v1", "champion", 1)
    row = read_feedback({"id": "x", "label": HUGE}, routing, {"talk": FULL}, now_ms=1)
    with pytest.raises(CallError, match="shorten the text") as refused:
        keeper.feedback(row)
    assert refused.value.http_status == 413
    assert spool.pending_records == 0


def test_the_body_of_dead_feedback_is_kept_only_where_all_pipelines_capture_in_full(tmp_path: Path) -> None:
    body = {"id": FORGED, "label": "ann@example.org", "ann@example.org": 1}
    raw = json.dumps(body).encode()
    keeper, spool = recorder(tmp_path / "full", talk=FULL)
    keeper.dead_feedback(raw, body, "why", _FIELDS)
    assert appended(spool)[0].value == raw
    keeper, spool = recorder(tmp_path / "mixed", talk=FULL, private=PRIVATE)
    keeper.dead_feedback(raw, body, "why", _FIELDS)
    keeper.dead_feedback(raw, body | {"id": "ann@example.org"}, "why", _FIELDS)
    first, second = appended(spool)
    assert json.loads(first.value) == {"id": FORGED, "fields": ["id", "label"], "bytes": len(raw), "reason": "why"}
    assert json.loads(second.value)["id"] is None
    assert dict(first.headers)["__connect.errors.exception.message"] == b"why"


def test_a_dead_letter_too_large_for_its_topic_goes_without_its_body(tmp_path: Path) -> None:
    keeper, spool = recorder(tmp_path, talk=FULL)
    raw = b"x" * (limit(FEEDBACK.dlq) + 1)
    keeper.dead_feedback(raw, {"id": FORGED}, "why", _FIELDS)
    assert json.loads(appended(spool)[0].value)["bytes"] == len(raw)


def test_the_largest_body_is_bounded() -> None:
    with pytest.raises(ValidationError, match="max_body_bytes"):
        GatewaySettings(max_body_bytes=16_777_217)
