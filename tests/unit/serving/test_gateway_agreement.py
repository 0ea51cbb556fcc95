"""The champion asked once more: of which calls, what is kept of it, and that no client ever notices."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from starlette.types import Message, Scope

from serving.gateway.auth import Keys
from serving.gateway.board import Board
from serving.gateway.chat import Chat
from serving.gateway.drain import Envelope
from serving.gateway.recorder import Recorder
from serving.gateway.shadow import Shadows
from serving.gateway.spool import Spool
from serving.gateway.upstream import Answer, UpstreamFailed
from serving.router import asked_twice
from tidemill.clock import SystemClock
from tidemill.events import Arm, InferenceResponse, Route
from tidemill.ids import CompletionIds
from tidemill.settings import Settings
from tidemill.topics import RESPONSES

SCOPE: Scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}


def settings_of(share: float = 1.0, *, slots: int = 16, **pipeline: Any) -> Settings:
    quality = {"estimate": True, "agreement_share": share}
    talk = {"engine": "main", "champion": "talk-v1", "champion_adapter": "a", "quality": quality} | pipeline
    return Settings.model_validate({"engines": {"main": {"client_slots": slots}}, "pipelines": {"talk": talk}})


class Engine:
    """Says to clients what it is given, and to shadows something else, or fails them; a shadow waits for ``free``."""

    def __init__(self, first: str, again: str | UpstreamFailed = "") -> None:
        self._first, self._again = first, again
        self.bodies: list[dict[str, Any]] = []
        self.free = asyncio.Event()
        self.free.set()

    async def chunks(
        self, engine: str, model: str, asked: Any, answer: Answer, *, timeout_s: float, shadow: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        assert (engine, model) == ("main", "talk-v1") and timeout_s == 30
        self.bodies.append(asked.upstream | {"shadow": shadow})
        if shadow:
            await self.free.wait()
        said = self._again if shadow else self._first
        for piece in said if isinstance(said, str) else "half":
            chunk = {"choices": [{"index": 0, "delta": {"content": piece}}]}
            answer.assembly.add(chunk)
            answer.first_s = answer.last_s = answer.arrived_s
            yield chunk
        if isinstance(said, UpstreamFailed):
            raise said
        answer.assembly.add({"choices": [{"index": 0, "finish_reason": "stop"}], "usage": {"completion_tokens": 1}})


class Gateway:
    """Chat endpoint, shadows and spool around an engine."""

    def __init__(self, folder: Path, settings: Settings, engine: Engine) -> None:
        self.board, self.engine = Board(settings), engine
        self.board.apply({})
        self._spool, clock = Spool(folder, 1 << 20, new_id=lambda: "spool"), SystemClock()
        recorder = Recorder(settings, self._spool, clock)
        self.shadows = Shadows(settings, self.board, recorder, engine, clock)  # type: ignore[arg-type]
        self._chat = Chat(
            settings,
            keys=Keys(None),
            board=self.board,
            recorder=recorder,
            upstream=engine,  # type: ignore[arg-type]
            shadows=self.shadows,
            completion_ids=CompletionIds(b"k" * 32),
            clock=clock,
            closing=lambda: False,
        )

    async def ask(self, **more: Any) -> bytes:
        """What a client gets."""
        asked = {"model": "talk", "messages": [{"role": "user", "content": "hello"}], **more}
        given: list[Message] = [{"type": "http.request", "body": json.dumps(asked).encode(), "more_body": False}]
        got: list[Message] = []

        async def receive() -> Message:
            if given:
                return given.pop()
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: Message) -> None:
            got.append(message)

        async with asyncio.timeout(5):
            await self._chat(SCOPE, receive, send)
        assert got[0]["status"] == 200
        return b"".join(message.get("body", b"") for message in got[1:])

    def answers(self) -> list[InferenceResponse]:
        found = self._spool.read(self._spool.position).payloads
        envelopes = [msgspec.msgpack.decode(payload, type=Envelope) for payload in found]
        return [RESPONSES.decoder()(each.value) for each in envelopes if each.topic == RESPONSES.name]


def ask_once(
    folder: Path, engine: Engine, settings: Settings | None = None, **more: Any
) -> tuple[InferenceResponse, list[InferenceResponse]]:
    """The client's answer, and those that nobody saw."""

    async def run() -> list[InferenceResponse]:
        gateway = Gateway(folder, settings or settings_of(), engine)
        await gateway.ask(**more)
        await gateway.shadows.finish(5)
        return gateway.answers()

    first, *unseen = asyncio.run(run())
    assert (first.role, first.status) == ("client", "ok")
    return first, unseen


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("again", "agreed"), [("mon 9:00", 1.0), ("tue 9:00", 0.0)])
def test_how_far_two_answers_agree_is_a_figure_of_the_second(
    tmp_path: Path, stream: bool, again: str, agreed: float
) -> None:
    engine = Engine("mon 9:00", again)
    first, (second,) = ask_once(tmp_path, engine, stream=stream, temperature=0.2, top_p=0.1, n=2, max_tokens=7)
    assert second.call_id == first.call_id and second.answer_id != first.call_id
    assert (second.role, second.variant, second.route_reason) == ("shadow", "shadow", "agreement")
    assert (second.model_version, second.status) == ("talk-v1", "ok")
    assert second.output_features["agreement"] == agreed and "agreement" not in first.output_features
    assert second.gen_ai_usage_output_tokens == 1, "it is paid for"
    assert first.gen_ai_output_text and second.gen_ai_output_text is None, "no label scores it"
    asked, asked_again = engine.bodies
    assert asked["temperature"] == 0.2 and asked["logprobs"] is True
    assert asked_again["shadow"] and asked_again["temperature"] == 1.0 and 0 <= asked_again["seed"] < 2**31
    assert not {"n", "top_p", "logprobs"} & set(asked_again)
    assert asked_again["messages"] == asked["messages"] and asked_again["max_tokens"] == 7


def test_agreement_is_by_the_metric_and_of_the_text_before_it_is_redacted(tmp_path: Path) -> None:
    quality = {"estimate": True, "agreement_share": 1, "metric": "json_equal"}
    settings = settings_of(capture="redacted", quality=quality)
    engine = Engine('{"to":"ann@example.org","at":1}', '{"at": 1.0, "to": "ann@example.org"}')
    first, (second,) = ask_once(tmp_path, engine, settings)
    assert second.output_features["agreement"] == 1.0
    assert first.gen_ai_output_text == '{"to":"[email]","at":1}'
    other = Engine('{"to":"ann@example.org"}', '{"to":"bob@example.org"}')
    assert ask_once(tmp_path / "other", other, settings)[1][0].output_features["agreement"] == 0.0


def test_nobody_pays_for_calls_unasked(tmp_path: Path) -> None:
    unset = settings_of(quality={"estimate": True})
    assert not ask_once(tmp_path, Engine("a", "a"), unset)[1]


def test_the_share_is_of_the_calls_and_the_same_call_is_always_in_or_out() -> None:
    calls = [f"call-{number}" for number in range(4_000)]
    chosen = [call for call in calls if asked_twice("talk", call, 0.1)]
    assert 320 <= len(chosen) <= 480 and chosen == [call for call in calls if asked_twice("talk", call, 0.1)]
    assert set(chosen) <= {call for call in calls if asked_twice("talk", call, 0.2)}
    assert not any(asked_twice("talk", call, 0) for call in calls) and all(asked_twice("talk", c, 1) for c in calls)


def test_a_busy_engine_is_not_asked_again(tmp_path: Path) -> None:
    def dropped() -> float:
        return REGISTRY.get_sample_value("tidemill_gateway_shadows_dropped_total", {"pipeline": "talk"}) or 0.0

    async def run() -> list[InferenceResponse]:
        gateway = Gateway(tmp_path, settings_of(slots=1), Engine("a", "a"))
        with gateway.board.in_flight("main", "talk-v1"):
            await gateway.ask()
        await gateway.shadows.finish(5)
        return gateway.answers()

    before = dropped()
    (only,) = asyncio.run(run())
    assert only.role == "client" and dropped() == before + 1


def test_a_second_answer_that_fails_is_told_and_compared_with_nothing(tmp_path: Path) -> None:
    failed = UpstreamFailed("error", 502, "upstream_cut", "The engine ended in the middle of an answer.")
    _, (second,) = ask_once(tmp_path, Engine("half of it", failed))
    assert (second.role, second.status, second.error_type) == ("shadow", "error", "upstream_cut")
    assert "agreement" not in second.output_features and second.gen_ai_output_text is None


@pytest.mark.parametrize("stream", [False, True])
def test_the_client_has_its_whole_answer_before_the_engine_is_asked_again(tmp_path: Path, stream: bool) -> None:
    async def run() -> tuple[bytes, list[InferenceResponse], list[InferenceResponse]]:
        engine = Engine("mon 9:00", "mon 9:00")
        engine.free.clear()
        gateway = Gateway(tmp_path, settings_of(), engine)
        got, before = await gateway.ask(stream=stream), gateway.answers()
        engine.free.set()
        await gateway.shadows.finish(5)
        return got, before, gateway.answers()

    got, before, after = asyncio.run(run())
    assert got.endswith(b"data: [DONE]\n\n" if stream else b"}")
    assert [each.role for each in before] == ["client"] and [each.role for each in after] == ["client", "shadow"]


def test_a_gateway_that_closes_ends_the_second_answer_too(tmp_path: Path) -> None:
    async def run() -> list[InferenceResponse]:
        engine = Engine("a", "a")
        engine.free.clear()
        gateway = Gateway(tmp_path, settings_of(), engine)
        await gateway.ask()
        await gateway.shadows.finish(0.01)
        return gateway.answers()

    _, second = asyncio.run(run())
    assert (second.status, second.error_type) == ("cancelled", "gateway_closing")
    assert "agreement" not in second.output_features


@pytest.mark.parametrize(("first", "canary"), [("a canary's answer", 100), ("", 0)])
def test_only_text_of_the_champion_is_compared(tmp_path: Path, first: str, canary: int) -> None:
    arms = (
        Arm(variant="canary", model_version="talk-v2", model="talk-v1", engine="main", weight=canary),
        Arm(variant="champion", model_version="talk-v1", model="talk-v1", engine="main", weight=100 - canary),
    )

    async def run() -> list[InferenceResponse]:
        gateway = Gateway(tmp_path, settings_of(), Engine(first, "a"))
        gateway.board.apply({"talk": Route(pipeline="talk", epoch=1, time_ms=1, arms=arms)})
        await gateway.ask()
        await gateway.shadows.finish(5)
        return gateway.answers()

    (only,) = asyncio.run(run())
    assert only.role == "client"


@pytest.mark.parametrize(
    ("places", "running", "shadow", "second"),
    [
        (0, 0, False, False),
        (1, 0, True, True),
        (1, 1, False, False),
        (2, 0, True, True),
        (2, 1, True, False),
        (2, 2, False, False),
    ],
)
def test_of_several_places_one_is_left_to_candidates(places: int, running: int, shadow: bool, second: bool) -> None:
    settings = Settings.model_validate({"engines": {"local": {"max_shadow_in_flight": places}}})
    board = Board(settings)
    with ExitStack() as held:
        for _ in range(running):
            held.enter_context(board.in_flight("local", "talk-v2", shadow=True))
        assert (board.room_for_shadow("local"), board.room_for_shadow("local", leave=1)) == (shadow, second)
