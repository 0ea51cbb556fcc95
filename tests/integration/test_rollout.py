"""A rollout against a real broker and store, the process killed in the middle."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType, TracebackType

import pyarrow as pa
import pytest

from serving.rollout.orders import Order, place
from tests.integration.adapter_engine import AdapterEngine
from tests.integration.role_process import Role, environment_of
from tests.integration.store_fixture import StoreProcess
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.codec import encode
from tidemill.events import GatewayStatus, JobState, RolloutState, Route
from tidemill.events.lifecycle import OrderAct
from tidemill.ids import uuid7
from tidemill.io.clickhouse import Store
from tidemill.io.kafka import follower, producer
from tidemill.settings import Settings
from tidemill.topics import GATEWAYS, JOBS, ROLLOUTS, ROUTES

CLOCK = SystemClock()


@pytest.fixture
def deployment(settings: Settings, store: StoreProcess, unique: Callable[[str], str]) -> Settings:
    """The settings with the test store and a database of its own, its tables made."""
    clickhouse = settings.clickhouse.model_copy(
        update={"url": store.url, "database": unique("rollout").replace("-", "_")}
    )
    moved = settings.model_copy(update={"clickhouse": clickhouse, "deployment": unique("rollout")})
    Store(moved).migrate()
    return moved


def rollout_of(deployment: Settings, more: Mapping[str, str] = MappingProxyType({})) -> Role:
    """The controller's process; it watches a new champion for two seconds."""
    watch = {"TIDEMILL_PIPELINES__SCHEDULE__ROLLOUT__WATCH_S": "2"}
    return Role("rollout", deployment, environment_of(deployment) | watch | dict(more))


class World:
    """Everything around the controller: one gateway that applies routes, the retrain controller's job, scored calls."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.store = settings, Store(settings)
        self.producer = producer(settings, "test-rollout")
        self._readers = {topic.name: follower(settings, "test-rollout", topic) for topic in (ROLLOUTS, ROUTES)}
        self.states: list[RolloutState] = []
        self.routes: list[Route] = []
        self.in_flight: dict[str, int] = {}
        self._numbers = itertools.count(1)
        self._ending = threading.Event()
        self._lock = threading.Lock()

    def __enter__(self) -> World:
        threading.Thread(target=self._gateway, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ending.set()

    def _gateway(self) -> None:
        while not self._ending.wait(0.2):
            with self._lock:
                epochs = {route.pipeline: route.epoch for route in self.routes}
            status = GatewayStatus(
                gateway_id="gateway-1", time_ms=CLOCK.now_ms(), epochs=epochs, in_flight=dict(self.in_flight)
            )
            self.producer.produce(GATEWAYS.name, encode(status), b"gateway-1")
            self.producer.flush(1)

    def look(self) -> World:
        """Read what the controller wrote since."""
        for topic in (ROLLOUTS, ROUTES):
            for message in self._readers[topic.name].consume(500, 0.1):
                if message.error() is None:
                    event = topic.decoder()(message.value())
                    with self._lock:
                        (self.states if topic is ROLLOUTS else self.routes).append(event)
        return self

    def route(self, pipeline: str = "schedule") -> Route | None:
        return next((route for route in reversed(self.look().routes) if route.pipeline == pipeline), None)

    def state(self) -> RolloutState | None:
        return self.look().states[-1] if self.look().states else None

    def at(self, phase: str, weight: int = 0) -> bool:
        state = self.state()
        return state is not None and state.phase == phase and (not weight or state.weight == weight)

    def reach(self, phase: str, weight: int = 0) -> RolloutState:
        """The first state of this phase (and share), however soon the next one follows."""

        def found() -> RolloutState | None:
            came = (s for s in self.look().states if s.phase == phase and (not weight or s.weight == weight))
            return next(came, None)

        return until(found, within_s=150, what=f"{phase} {weight}")

    def order(self, act: OrderAct, reason: str, version: str = "") -> None:
        """Somebody orders something of the rollout, or the start of this version's."""
        state, now = self.state(), CLOCK.now_ms()
        order = Order(
            order_id=f"{act}-{now}",
            act=act,
            pipeline="schedule",
            by="anna",
            reason=reason,
            time_ms=now,
            rollout_id="" if version or state is None else state.rollout_id,
            version=version,
        )
        place(self.settings, order)

    def job(self, folder: str = "adapters/schedule-v2") -> None:
        """A candidate passed the gate."""
        now = CLOCK.now_ms()
        job = JobState(
            job_id=f"job-{now}",
            seq=9,
            time_ms=now,
            pipeline="schedule",
            phase="registered",
            reason="passed the gate",
            alarm_id="alarm-1",
            created_ms=now,
            adapter_dir=folder,
            candidate_version="schedule-v2",
        )
        self.producer.produce(JOBS.name, encode(job), job.job_id.encode())
        self.producer.flush(5)

    def scored(self, n: int, candidate: float, champion: float = 0.9) -> None:
        """``n`` scored answers of each arm of the step the rollout is in, each arm at its level."""
        state = self.state()
        assert state is not None
        shadow = state.phase == "shadow"
        rows = []
        for number in (next(self._numbers) for _ in range(n)):
            spread = (number * 7919 % 100) / 100
            now = CLOCK.now_ms()
            for version, level, variant in (
                ("schedule-v1", champion, "champion"),
                (state.candidate_version, candidate, "shadow" if shadow else "canary"),
            ):
                same = number if shadow else 2 * number + (variant == "canary")
                call = uuid7(state.created_ms, same.to_bytes(10, "big"))
                rows.append(
                    {
                        "feedback_id": f"{variant}-{number}-{version}",
                        "call_id": call,
                        "answer_id": f"{call}-{variant}",
                        "time_ms": now + 1,
                        "call_time_ms": now,
                        "pipeline": "schedule",
                        "model_version": version,
                        "variant": variant,
                        "kind": "score",
                        "source": "scorer",
                        "metric": "exact_match",
                        "score": 1.0 if spread < level else 0.0,
                    }
                )
        self.store.insert(
            "feedback", pa.Table.from_pylist(rows), f"scores-{rows[0]['feedback_id']}-{rows[0]['time_ms']}"
        )


@pytest.fixture
def engine(deployment: Settings) -> Iterator[AdapterEngine]:
    with AdapterEngine(deployment.port("engine")) as running:
        yield running


def test_candidate_becomes_champion_over_kills(
    deployment: Settings, kafka: str, fresh_topics: None, engine: AdapterEngine
) -> None:
    with World(deployment) as world, rollout_of(deployment) as rollout:
        rollout.start()
        first = until(world.route, within_s=120, what="the first route")
        assert (first.epoch, first.arms[0].model_version, first.arms[0].weight) == (1, "schedule-v1", 100)
        assert "schedule-v1" in engine.adapters, "the champion is loaded before a route names it"
        rollout.ready()
        world.job()
        shadow = world.reach("shadow")
        assert "schedule-v2" in engine.adapters
        rollout.kill()
        world.scored(45, candidate=0.9, champion=0.3)
        rollout.start()
        world.reach("canary", 25)
        engine.restart()
        until(
            lambda: {"schedule-v1", "schedule-v2", "support-v1"} <= set(engine.adapters),
            within_s=120,
            what="adapters are back",
        )
        rollout.kill()
        rollout.start()
        world.scored(45, candidate=0.9, champion=0.3)
        world.reach("canary", 50)
        world.in_flight = {"schedule-v1": 1}
        world.scored(45, candidate=0.9, champion=0.3)
        world.reach("promoting")
        until(
            lambda: (route := world.route()) and route.arms[0].model_version == "schedule-v2",
            within_s=120,
            what="the new route",
        )
        rollout.kill()
        rollout.start().ready(within_s=120)
        assert "schedule-v1" in engine.adapters and world.at("promoting"), "a call on the old champion is in flight"
        world.in_flight = {}
        champion = world.reach("champion")
        until(lambda: "schedule-v1" not in engine.adapters, within_s=120, what="the old adapter is taken out")
        assert rollout.stop() == 0
        assert world.look().states[-1].watch == "kept", "the old champion stays while the new one is watched"
    assert champion.rollout_id == shadow.rollout_id
    assert [verdict.check for verdict in champion.verdicts] == ["shadow", "canary-25", "canary-50"]
    assert [state.seq for state in world.states] == list(range(1, len(world.states) + 1)), "no state twice or left out"
    mine = [route for route in world.routes if route.pipeline == "schedule"]
    assert [route.epoch for route in mine] == [1, 2, 3, 4, 5]
    assert engine.unloaded == ["schedule-v1"]


def test_harm_is_rolled_back_and_the_candidate_taken_out(
    deployment: Settings, kafka: str, fresh_topics: None, engine: AdapterEngine
) -> None:
    with World(deployment) as world, rollout_of(deployment) as rollout:
        rollout.start().ready(within_s=120)
        world.job()
        world.reach("shadow")
        world.scored(45, candidate=0.9)
        world.reach("canary", 25)
        world.order("pause", "looking at the answers")
        until(lambda: world.look().states[-1].hold == "paused", within_s=120, what="the pause")
        world.scored(30, candidate=0.2)
        back = world.reach("rolled_back")
        rollout.kill()
        rollout.start()
        until(lambda: engine.unloaded == ["schedule-v2"], within_s=120, what="the candidate is taken out")
        until(
            lambda: world.state() is not None and world.states[-1].figures.get("registry_done"),
            within_s=120,
            what="marked",
        )
        route = world.route()
    assert "harm proven in canary-25" in back.reason
    assert [(taken.act, taken.by, taken.refused) for taken in back.orders] == [("pause", "anna", "")]
    assert back.verdicts[-1].outcome == "fail" and back.verdicts[-1].figures["candidate_n"] == 30
    assert route is not None and [(arm.model_version, arm.weight) for arm in route.arms] == [("schedule-v1", 100)]
    assert "schedule-v1" in engine.adapters


def test_adapter_the_engine_refuses_fails_the_rollout_and_moves_no_traffic(
    deployment: Settings, kafka: str, fresh_topics: None, engine: AdapterEngine
) -> None:
    with World(deployment) as world, rollout_of(deployment) as rollout:
        rollout.start().ready(within_s=120)
        world.job("adapters/broken")
        failed = world.reach("failed")
        route = world.route()
    assert "no such adapter" in failed.reason
    assert route is not None and route.epoch == 1


def test_a_model_on_a_second_engine_takes_over_by_order_and_goes_back_by_order(
    deployment: Settings, kafka: str, mlflow: str, fresh_topics: None, engine: AdapterEngine
) -> None:
    green, version = AdapterEngine(0, "base-int8"), "schedule-v1001"
    declared = {
        "TIDEMILL_ENGINES__GREEN": f"{{url: 'http://127.0.0.1:{green.port}/v1', base_model: base-int8}}",
        "TIDEMILL_PIPELINES__SCHEDULE__VERSIONS": f"{{{version}: {{kind: model, engine: green}}}}",
        "TIDEMILL_PIPELINES__SCHEDULE__ROLLOUT__STEPS": "[100]",
        "TIDEMILL_PIPELINES__SCHEDULE__ROLLOUT__WATCH_S": "600",
    }
    with green, World(deployment) as world, rollout_of(deployment, declared) as rollout:
        rollout.start().ready(within_s=120)
        world.order("start", "in eight bits it is cheaper", version)
        world.reach("shadow")
        rollout.kill()
        rollout.start()
        world.scored(45, candidate=0.9)
        world.reach("champion")
        served = world.route()
        rollout.kill()
        rollout.start().ready(within_s=120)
        assert "schedule-v1" in engine.adapters, "blue stays while green is watched"
        world.order("rollback", "the answers are too long")
        world.reach("rolled_back")
        back = until(
            lambda: (route := world.route()) and route.arms[0].model_version == "schedule-v1" and route,
            within_s=120,
            what="the way back",
        )
    assert served is not None and [(arm.engine, arm.model, arm.weight) for arm in served.arms] == [
        ("green", "base-int8", 100)
    ]
    assert [(arm.engine, arm.model, arm.weight) for arm in back.arms] == [("local", "schedule-v1", 100)]
    assert engine.unloaded == [] and not green.adapters
