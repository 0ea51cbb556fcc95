"""The scorer against a real broker and store: every (label, answer) pair once, whatever happens to the process."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import pyarrow as pa
import pytest

from tests.integration.role_process import Role, environment_of
from tests.integration.store_fixture import StoreProcess
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.events import Feedback
from tidemill.ids import derived_id, uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import follower, producer, read_to_end
from tidemill.settings import Settings
from tidemill.topics import FEEDBACK

BROKEN = b"{broken"


SLICED = {"TIDEMILL_PIPELINES__SCHEDULE__SLICES": "[tenant, prompt_version, attributes.language]"}


@pytest.fixture
def deployment(settings: Settings, store: StoreProcess, unique: Callable[[str], str]) -> Settings:
    """The settings with the test store and a database of its own, its tables made."""
    clickhouse = settings.clickhouse.model_copy(
        update={"url": store.url, "database": unique("scorer").replace("-", "_")}
    )
    moved = settings.model_copy(update={"clickhouse": clickhouse, "deployment": unique("scorer")})
    Store(moved).migrate()
    return moved


class World:
    """What gateway and sink would do: answers in the store, labels on the topic."""

    def __init__(self, settings: Settings) -> None:
        self.store, self.producer = Store(settings), producer(settings, "test-scorer")
        self.reader = follower(settings, "test-scorer", FEEDBACK)
        self.now_ms = SystemClock().now_ms()
        self.expected: set[str] = set()
        self.scores: list[Feedback] = []
        self._landed = 0

    def call(self, number: int) -> str:
        return uuid7(self.now_ms, number.to_bytes(10, "big"))

    def label(self, numbers: range) -> None:
        for number in numbers:
            call = self.call(number)
            event = Feedback(
                feedback_id=f"label-{number}",
                call_id=call,
                time_ms=self.now_ms + number,
                call_time_ms=self.now_ms,
                pipeline="schedule",
                kind="label",
                source="client",
                value="right",
            )
            # by no key's hash: a producer in another language may choose another partition than ours would
            self.producer.produce(FEEDBACK.name, encode(event), call.encode(), partition=number % FEEDBACK.partitions)
        self.producer.flush(10)

    def answer(self, numbers: range, role: str = "client") -> None:
        """Answers land; every third is wrong."""
        rows = []
        for number in numbers:
            call = self.call(number)
            answer = call if role == "client" else uuid7(self.now_ms + 1, number.to_bytes(10, "big"))
            self.expected.add(derived_id(answer, f"label-{number}", "exact_match", "1"))
            rows.append(
                {
                    "call_id": call,
                    "answer_id": answer,
                    "role": role,
                    "time_ms": self.now_ms + 5,
                    "call_time_ms": self.now_ms,
                    "pipeline": "schedule",
                    "tenant": f"t{number % 2}",
                    "prompt_version": "2",
                    "model_version": "schedule-v1" if role == "client" else "schedule-v2",
                    "variant": "champion" if role == "client" else "shadow",
                    "status": "ok",
                    "gen_ai_output_text": "wrong" if number % 3 == 0 else "right",
                }
            )
        self._landed += 1
        self.store.insert("responses", pa.Table.from_pylist(rows), f"answers-{self.now_ms}-{self._landed}")

    def said(self) -> list[Feedback]:
        """All scores of this world on the topic so far."""
        decode = FEEDBACK.decoder()
        for message in self.reader.consume(1000, 0.1):
            if message.error() is None and message.value() != BROKEN:
                event: Feedback = decode(message.value())
                if event.kind == "score" and event.time_ms >= self.now_ms:
                    number = int(event.source_feedback_id.removeprefix("label-"))
                    assert message.partition() == number % FEEDBACK.partitions, "a score lies behind its label"
                    self.scores.append(event)
        return self.scores

    def all_said(self) -> bool:
        return {event.feedback_id for event in self.said()} >= self.expected


def test_each_pair_is_scored_once_over_kills(deployment: Settings, kafka: str, fresh_topics: None) -> None:
    world = World(deployment)
    with Role("scorer", deployment, environment_of(deployment) | SLICED) as scorer:
        world.answer(range(0, 30))
        world.label(range(0, 60))
        scorer.start()
        until(world.all_said, within_s=120, what="labels with an answer are scored")
        scorer.kill()  # 30 labels wait, their place in the topic is not committed
        world.answer(range(30, 45))
        scorer.start()
        until(lambda: len(world.said()) > 32, within_s=120, what="it goes on after the first kill")
        scorer.kill()  # in the middle of writing
        world.answer(range(45, 60))
        world.answer(range(40, 60), "shadow")  # shadows land after the client's answer was scored
        scorer.start().ready()
        until(world.all_said, within_s=120, what="the rest and the late shadows are scored")
        world.label(range(0, 5))  # the very same labels again
        world.label(range(60, 61))
        world.answer(range(60, 61))
        until(world.all_said, what="a new label after repeated ones")
        assert scorer.stop() == 0
    counted = Counter(event.feedback_id for event in world.said())
    assert set(counted) == world.expected
    assert [name for name, times in counted.items() if times > 1] == []
    assert sum(event.score or 0 for event in world.scores if event.variant == "champion") == 40
    assert {event.variant for event in world.scores} == {"champion", "shadow"}
    for event in world.scores:
        number = int(event.source_feedback_id.removeprefix("label-"))
        wanted = {"tenant": f"t{number % 2}", "prompt_version": "2", "attributes.language": ""}
        assert event.slices == wanted, "as the answer's row says"
    assert all(event.model_version == "schedule-v2" for event in world.scores if event.variant == "shadow")


def test_store_away_pauses_and_loses_nothing(
    deployment: Settings, kafka: str, fresh_topics: None, unique: Callable[[str], str]
) -> None:
    missing = unique("later").replace("-", "_")
    later = deployment.model_copy(update={"clickhouse": deployment.clickhouse.model_copy(update={"database": missing})})
    world = World(deployment)
    world.label(range(0, 5))
    with Role("scorer", later, environment_of(later)) as scorer:
        scorer.start()
        until(lambda: "label scoring pauses" in scorer.readiness(), within_s=120, what="the pause is visible")
        assert world.said() == []
        Store(later).migrate()
        world.store = Store(later)
        world.answer(range(0, 5))
        until(world.all_said, what="labels that arrived meanwhile are scored")
        scorer.ready()


def test_nothing_but_labels_is_scored(deployment: Settings, kafka: str, fresh_topics: None) -> None:
    world = World(deployment)
    thumb = Feedback(
        feedback_id="thumb-1",
        call_id=world.call(1),
        time_ms=world.now_ms,
        call_time_ms=world.now_ms,
        pipeline="schedule",
        kind="thumb",
        source="user",
        metric="thumb",
        score=1.0,
    )
    world.producer.produce(FEEDBACK.name, encode(thumb))
    world.producer.produce(FEEDBACK.name, BROKEN)
    world.label(range(2, 3))
    world.answer(range(2, 3))
    with Role("scorer", deployment, environment_of(deployment)) as scorer:
        scorer.start().ready()
        until(world.all_said, what="the label is scored")
    reader = follower(deployment, "test-scorer-end", FEEDBACK)
    assert len(list(read_to_end(reader))) == 4


def test_feedback_that_never_rests_is_scored(deployment: Settings, kafka: str, fresh_topics: None) -> None:
    """The broker never says that a partition is read to its end where a message comes sooner than a fetch waits."""
    world, done = World(deployment), threading.Event()
    busy = producer(deployment, "test-busy-feedback")

    def write() -> None:
        while not done.wait(0.02):
            busy.produce(FEEDBACK.name, BROKEN, partition=0)
            busy.poll(0)

    writing = threading.Thread(target=write, name="write")
    writing.start()
    try:
        world.answer(range(0, 5))
        world.label(range(0, 5))
        with Role("scorer", deployment, environment_of(deployment)) as scorer:
            scorer.start().ready()
            until(world.all_said, within_s=60, what="the labels are scored")
            assert scorer.stop() == 0
    finally:
        done.set()
        writing.join()
        assert busy.flush(30) == 0
