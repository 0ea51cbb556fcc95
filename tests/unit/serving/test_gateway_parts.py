"""The gateway's pure parts: keys, redaction, prices, requests, chunks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from serving.gateway.asked import decode_body, parse, session_of, sliced_by
from serving.gateway.assembly import Assembly
from serving.gateway.auth import Keys
from serving.gateway.errors import CallError
from serving.gateway.fitting import fitting
from serving.gateway.price import cost_micros
from serving.gateway.rows import Call, Ending, Server, kept_session, kept_tenant, request_row, response_row, slices_of
from serving.gateway.upstream import Answer, take_events, without_logprobs
from tidemill.answers import answer_features
from tidemill.errors import Stop
from tidemill.events import InferenceResponse
from tidemill.events.types import Status
from tidemill.ids import uuid7
from tidemill.io.secrets import audit_keys, gateway_keys, make_secrets
from tidemill.output_format import is_json
from tidemill.redaction import redact
from tidemill.settings import PipelineSettings, Settings
from tidemill.settings.model import EngineSettings, GatewaySettings
from tidemill.settings.output import OutputFormatSettings
from tidemill.slices import by_dimension
from tidemill.topics import MAX_MESSAGE_BYTES, REQUESTS

KEY = "tm-4Fq9sLZ0aXbC7dEe8RtYuIoP"
AUDIT_KEY = "tma-7Gr0tMA1bYcD8eFf9SuZvJpQ"
CALL_ID = uuid7(1_700_000_000_000, b"0123456789")
SERVER = Server(model_version="talk-v1", variant="champion", model="talk-v1", engine="main", epoch=1, reason="only")
FULL = PipelineSettings(engine="main", champion="talk-v1", system_prompt="be brief")
PRIVATE = PipelineSettings(engine="main", champion="talk-v1", capture="redacted")
SILENT = PipelineSettings.model_validate(
    {"engine": "main", "champion": "talk-v1", "capture": "off", "retrain": {"enabled": False}}
)


ESTIMATED = PipelineSettings.model_validate({"engine": "main", "champion": "talk-v1", "quality": {"estimate": True}})


def body(**more: Any) -> dict[str, Any]:
    return {"model": "talk", "messages": [{"role": "user", "content": "hello"}], **more}


def test_only_a_known_key_opens() -> None:
    keys = Keys([KEY, KEY[::-1]])
    keys.check(f"Bearer {KEY}".encode())
    keys.check(f"bearer  {KEY[::-1]} ".encode())
    for wrong in (None, b"", b"Bearer", b"Bearer ", KEY.encode(), f"Basic {KEY}".encode(), f"Bearer {KEY}x".encode()):
        with pytest.raises(CallError) as refused:
            keys.check(wrong)
        assert refused.value.http_status == 401


@pytest.mark.parametrize("key", ["sk-1234", "changeme-changeme-changeme", "a" * 40, "my-secret-0123456789abcdefgh", ""])
def test_weak_and_known_keys_are_refused_at_start(key: str) -> None:
    with pytest.raises(Stop, match="gateway key number 2 is refused"):
        Keys([KEY, key])


def test_no_keys_at_all_are_refused_and_none_means_open() -> None:
    with pytest.raises(Stop, match="tidemill init"):
        Keys([])
    Keys(None).check(None)


def test_an_audit_key_opens_all_and_alone_may_speak_for_a_trusted_source() -> None:
    keys = Keys([KEY], [AUDIT_KEY])
    assert keys.check(f"Bearer {AUDIT_KEY}".encode())
    assert not keys.check(f"Bearer {KEY}".encode())
    everyone = Keys(None, [AUDIT_KEY])
    assert everyone.check(f"Bearer {AUDIT_KEY}".encode())
    assert not everyone.check(None) and not everyone.check(b"Bearer x") and not Keys(None).check(b"Bearer ")


def test_a_weak_audit_key_and_one_that_all_clients_have_are_refused_at_start() -> None:
    with pytest.raises(Stop, match="audit key number 1 is refused"):
        Keys([KEY], ["short"])
    with pytest.raises(Stop, match="too"):
        Keys([KEY], [KEY])


def test_init_makes_an_audit_key_of_its_own(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert set(make_secrets(settings)) == {"routing.key", "gateway.keys", "audit.keys"}
    assert make_secrets(settings) == []
    Keys(gateway_keys(settings), audit_keys(settings))
    assert (tmp_path / "secrets" / "audit.keys").stat().st_mode & 0o777 == 0o600


def test_no_authentication_is_for_loopback_only() -> None:
    GatewaySettings(auth="none")
    with pytest.raises(ValidationError, match="auth: keys"):
        GatewaySettings(auth="none", host="0.0.0.0")


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("write to ann.b+c@mail.example.org now", "write to [email] now"),
        ("call +41 (0)44 668-18.00 today", "call [number] today"),
        ("card 4111 1111 1111 1111, thanks", "card [number], thanks"),
        ("id 12345678", "id [number]"),
        ("tue 15:30 for 60m in room 4", "tue 15:30 for 60m in room 4"),
        ("pay 1,000 or 123456", "pay 1,000 or 123456"),
        ("", ""),
    ],
)
def test_redaction(text: str, kept: str) -> None:
    assert redact(text) == kept
    assert redact(kept) == kept


def test_cost_is_by_token_and_unknown_is_not_zero() -> None:
    engine = EngineSettings(input_usd_per_million=1.0, cached_usd_per_million=0.25, output_usd_per_million=4.0)
    assert cost_micros(engine, 100, 40, 10) == 60 + 10 + 40
    assert cost_micros(engine, 100, None, 10) == 140
    assert cost_micros(engine, None, None, 10) is None
    assert cost_micros(EngineSettings(), 100, 0, 10) is None
    assert cost_micros(EngineSettings(input_usd_per_million=0, output_usd_per_million=0), 100, 0, 10) == 0


def test_a_request_is_completed_from_the_pipeline() -> None:
    asked = parse(body(user="ann", metadata={"team": "a"}, stream=True), FULL)
    assert asked.upstream["messages"][0] == {"role": "system", "content": "be brief"}
    assert asked.upstream["max_tokens"] == 256 and asked.upstream["temperature"] == 0.0
    assert not {"user", "metadata", "model", "priority"} & set(asked.upstream)
    assert asked.attributes == {"team": "a"}
    assert (asked.stream, asked.include_usage) == (True, False)
    own = parse(
        body(messages=[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], max_tokens=3), FULL
    )
    assert own.upstream["messages"][0]["content"] == "s"
    assert own.upstream["max_tokens"] == 3
    assert own.users_texts == ["u"]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "x"}]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": 3}]}, "messages[0].content"),
        ({"lora_path": "/etc"}, "lora_path"),
        ({"priority": -1}, "priority"),
        ({"chat_template": "{{x}}"}, "chat_template"),
        ({"n": 99}, "n"),
        ({"stream": "yes"}, "stream"),
        ({"metadata": {"a": 1}}, "metadata"),
    ],
)
def test_a_wrong_request_is_refused_by_name(wrong: dict[str, Any], param: str) -> None:
    with pytest.raises(CallError) as refused:
        parse(body() | wrong, FULL)
    error = json.loads(refused.value.body())["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["param"]) == ("invalid_request_error", param)


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"\xff", b'{"a":' * 5000])
def test_a_body_that_is_no_object_is_refused(raw: bytes) -> None:
    with pytest.raises(CallError, match="JSON"):
        decode_body(raw)


def test_the_session_is_header_then_user_then_the_call() -> None:
    assert session_of("h", body(user="u"), "c") == "h"
    assert session_of("", body(user="u"), "c") == "u"
    assert session_of("", body(user=3), "c") == "c"
    assert len(session_of("x" * 1000, {}, "c")) <= 128
    assert kept_session("ann@example.org", "redacted") != "ann@example.org"
    assert kept_session("s-17", "off") == "s-17"


def test_a_tenant_and_parameters_that_are_texts_are_not_kept() -> None:
    call = Call(call_id=CALL_ID, time_ms=1, arrived_s=0, pipeline="talk", session="s", tenant="ann@example.org")
    asked = parse(body(temperature="ann@example.org", seed="41446681800", top_p=0.5, n=1, top_k=10**30), FULL)
    assert asked.parameters == {"top_p": 0.5, "n": 1, "max_tokens": 256}
    for settings in (PRIVATE, SILENT):
        assert b"ann" not in fitting(request_row(call, asked, settings))
    assert request_row(call, asked, FULL).tenant == "ann@example.org"
    assert kept_tenant("acme", "off") == "acme"
    assert kept_tenant("ann@example.org", "off") == kept_tenant("ann@example.org", "redacted") != ""


def test_an_answer_carries_the_attributes_its_pipeline_is_sliced_by_as_far_as_they_are_kept() -> None:
    metadata = {"language": "de", "who": "ann@example.org", "team": "b"}
    slices = ("tenant", "input_language", "attributes.language", "attributes.who")
    for settings, wanted in (
        (FULL, {"language": "de", "who": "ann@example.org"}),
        (PRIVATE, {"language": "de", "who": "[email]"}),
        (SILENT, None),
    ):
        sliced = settings.model_copy(update={"slices": slices})
        call = Call(
            call_id=CALL_ID,
            time_ms=1,
            arrived_s=0,
            pipeline="talk",
            session="s",
            tenant="acme",
            sliced=sliced_by(metadata, sliced),
            input_language="de",
        )
        row = response_row(
            call,
            CALL_ID,
            SERVER,
            Ending(status="ok"),
            Answer(0),
            now_ms=2,
            now_s=2,
            settings=sliced,
            engine=EngineSettings(),
        )
        asked = request_row(call, parse(body(metadata=metadata), sliced), sliced)
        assert row.attributes == wanted
        assert slices_of(call, sliced) == by_dimension(
            slices, row.attributes or {}, tenant=row.tenant, input_language=row.input_language
        )
        assert (wanted or {}) == {name: asked.attributes[name] for name in wanted or ()}
        assert (row.tenant, row.prompt_version) == (asked.tenant, asked.prompt_version)
        assert row.input_language == asked.input_language == "de"
    assert sliced_by(metadata, FULL) == {} == sliced_by({"language": 3}, sliced)


def test_roles_and_the_names_of_metadata_are_texts_of_the_client_too() -> None:
    call = Call(call_id=CALL_ID, time_ms=1, arrived_s=0, pipeline="talk", session="s", tenant="")
    messages = [{"role": "ann@example.org", "content": "hello"}, {"role": "user", "content": "hello"}]
    asked = parse(body(messages=messages, metadata={"+41 44 668 18 00": "a", "team": "b"}), FULL)
    row = request_row(call, asked, PRIVATE)
    assert row.gen_ai_input_messages is not None
    assert [message.role for message in row.gen_ai_input_messages] == ["[email]", "user"]
    assert row.attributes == {"[number]": "a", "team": "b"}
    silent = request_row(call, asked, SILENT)
    assert (silent.gen_ai_input_messages, silent.attributes) == (None, {})
    whole = request_row(call, asked, FULL)
    assert whole.attributes == asked.attributes and whole.gen_ai_input_messages == asked.messages


def test_chunks_become_the_answer_again() -> None:
    whole = Assembly()
    call = {"index": 0, "id": "c1", "function": {"name": "look", "arguments": '{"a"'}}
    for delta in (
        {"role": "assistant", "content": "a"},
        {"content": "b"},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ":1}"}}]},
    ):
        assert whole.add({"choices": [{"index": 0, "delta": delta}]})
    assert not whole.finished(1)
    assert not whole.add({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "model": "m"})
    assert whole.finished(1)
    whole.add({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    message = whole.choices[0]["message"]
    assert (whole.text, whole.finish_reason, whole.input_tokens, whole.cached_tokens) == ("ab", "stop", 3, None)
    assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": '{"a":1}'}
    assert whole.mean_logprob is None


def answered(settings: PipelineSettings, *chunks: dict[str, Any], status: Status = "ok") -> InferenceResponse:
    call = Call(call_id=CALL_ID, time_ms=1, arrived_s=0, pipeline="talk", session="s", tenant="")
    server = Server(model_version="talk-v1", variant="champion", model="base", engine="main", epoch=1, reason="only")
    answer = Answer(0)
    for chunk in chunks:
        if answer.assembly.add({"choices": [{"index": 0, **chunk}]}):
            answer.first_s = 1
    return response_row(
        call,
        CALL_ID,
        server,
        Ending(status=status),
        answer,
        now_ms=2,
        now_s=2,
        settings=settings,
        engine=EngineSettings(),
    )


def test_what_an_answer_shows_is_taken_whatever_is_kept_of_it() -> None:
    form = {"output_format": OutputFormatSettings(type="json")}
    said = '{"mail": "ann@example.org", "n": 41446681800}'
    end = {"delta": {}, "finish_reason": "stop"}
    rows = [
        answered(each.model_copy(update=form), {"delta": {"content": said}}, end) for each in (FULL, PRIVATE, SILENT)
    ]
    assert [row.gen_ai_output_text for row in rows] == [said, '{"mail": "[email]", "n": [number]}', None]
    assert all(row.output_features == answer_features(said, "ok", "stop", is_json) for row in rows)
    assert rows[0].output_features["valid"] == 1, "what redaction left would be no JSON"
    assert "valid" not in answered(FULL, {"delta": {"content": said}}, end).output_features


def test_an_answer_without_text_is_empty_unless_it_calls_a_tool_or_failed() -> None:
    end = {"delta": {}, "finish_reason": "stop"}
    assert answered(SILENT, end).output_features["empty"] == 1
    tool = {"delta": {"tool_calls": [{"index": 0, "id": "c1", "function": {"name": "look", "arguments": "{}"}}]}}
    assert answered(SILENT, tool, end).output_features == {"empty": 0.0}
    assert answered(SILENT, status="error").output_features == {}


def test_what_the_engine_marks_as_a_refusal_is_one() -> None:
    row = answered(SILENT, {"delta": {"refusal": "Not this one."}}, {"delta": {}, "finish_reason": "stop"})
    assert (row.output_features["refusal"], row.output_features["empty"]) == (1, 0)


def test_context_that_was_fetched_is_measured_and_not_kept() -> None:
    call = Call(call_id=CALL_ID, time_ms=1, arrived_s=0, pipeline="talk", session="s", tenant="")
    messages = [{"role": "user", "content": "hello"}, {"role": "tool", "content": "row 1"}]
    row = request_row(call, parse(body(messages=messages), SILENT), SILENT)
    assert row.gen_ai_input_messages is None
    assert (row.input_features["context_chars"], row.input_features["chars"]) == (5, 5)


def test_server_sent_events_are_taken_whole_however_they_are_cut() -> None:
    stream = b'data: {"a":1}\n\n: comment\n\ndata: x\ndata: y\n\ndata: [DONE]\r\n\r\n'
    for step in (1, 3, 7, len(stream)):
        buffer, found = bytearray(), []
        for at in range(0, len(stream), step):
            buffer += stream[at : at + step]
            found += take_events(buffer)
        assert found == [b'{"a":1}', b"x\ny", b"[DONE]"]
        assert not buffer


def test_an_event_too_large_for_its_topic_goes_without_text_and_says_so() -> None:
    call = Call(call_id=CALL_ID, time_ms=1, arrived_s=0, pipeline="talk", session="s", tenant="")
    asked = parse(body(messages=[{"role": "user", "content": "\x01" * 400_000}]), FULL)
    data = fitting(request_row(call, asked, FULL))
    assert len(data) < MAX_MESSAGE_BYTES
    row = REQUESTS.decoder()(data)
    assert row.gen_ai_input_messages is None
    assert "too long" in row.attributes["tidemill.text"]


@pytest.mark.parametrize(
    ("pipeline", "more", "asked_for", "hidden"),
    [
        (FULL, {}, None, False),
        (FULL, {"logprobs": True}, True, False),
        (ESTIMATED, {}, True, True),
        (ESTIMATED, {"logprobs": False}, True, True),
        (ESTIMATED, {"logprobs": True}, True, False),
    ],
)
def test_log_probabilities_are_asked_for_where_quality_is_estimated(
    pipeline: PipelineSettings, more: dict[str, Any], asked_for: bool | None, hidden: bool
) -> None:
    asked = parse(body(**more), pipeline)
    assert asked.upstream.get("logprobs") is asked_for
    assert asked.hide_logprobs is hidden


def test_hidden_log_probabilities_leave_the_rest_of_a_chunk() -> None:
    choice = {"index": 0, "delta": {"content": "hi"}, "logprobs": {"content": [{"token": "hi", "logprob": -0.5}]}}
    assert without_logprobs({"choices": [choice], "usage": None}) == {
        "choices": [{"index": 0, "delta": {"content": "hi"}, "logprobs": None}],
        "usage": None,
    }
    assert without_logprobs({"choices": [{"index": 0}]}) == {"choices": [{"index": 0}]}
