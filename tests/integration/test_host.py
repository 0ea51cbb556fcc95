"""The host role beside a real broker and registry: figures go out, alarms begin and end once, also over a kill."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.integration.adapter_engine import AdapterEngine
from tests.integration.fake_engine import FakeEngine
from tests.integration.role_process import Role
from tests.integration.store_fixture import free_port
from tests.integration.test_registry import call
from tidemill.codec import encode
from tidemill.events import Arm, HostFigures, Route, ThresholdEvent
from tidemill.io import kafka as io_kafka
from tidemill.io.modes import write_private
from tidemill.settings import Settings
from tidemill.settings.host import HostSettings, ProbeSettings
from tidemill.settings.model import EngineSettings
from tidemill.topics import HOSTS, ROUTES, THRESHOLDS, Topic

WEIGHTS = "adapter_model.safetensors"
PROBE = ProbeSettings(every_s=1, prompts=("one", "two"), learn_rounds=4, run_length=10)
HOST = HostSettings(
    name="node", every_s=0.2, disk_above=0.0001, disk_leave=0, for_s=0, unreachable_s=2, served_every_s=0.4
)


class World:
    """A deployment with one pipeline on an engine, a provider that is probed, and an adapter that is registered."""

    def __init__(self, settings: Settings, pipeline: str, provider: FakeEngine, port: int) -> None:
        self.pipeline, self.version, self.provider, self.port = pipeline, f"{pipeline}-v1", provider, port
        folder = settings.data_dir / "adapters" / self.version
        folder.mkdir(parents=True)
        self.folder, self.weights = folder, folder / WEIGHTS
        self.weights.write_bytes(b"as registered")
        chosen = settings.pipelines["schedule"].model_copy(
            update={"champion": self.version, "champion_adapter": str(folder)}
        )
        engines = {
            "local": EngineSettings(url=f"http://127.0.0.1:{port}/v1"),
            "far": EngineSettings(kind="provider", url=provider.url, base_model="large", probe=PROBE),
        }
        self.settings = settings.model_copy(
            update={"deployment": pipeline, "engines": engines, "pipelines": {pipeline: chosen}, "host": HOST}
        )
        self.file = settings.data_dir / f"{pipeline}.yaml"
        write_private(self.file, yaml.safe_dump(self.settings.model_dump(mode="json")))

    def register(self, mlflow: str) -> None:
        digest = hashlib.sha256(self.weights.read_bytes()).hexdigest()
        call(f"{mlflow}/api/2.0/mlflow/registered-models/create", {"name": self.pipeline})
        run: Any = call(f"{mlflow}/api/2.0/mlflow/runs/create", {"experiment_id": "0"})["run"]
        source = run["info"]["artifact_uri"] + "/adapter"
        body = {"name": self.pipeline, "source": source, "run_id": run["info"]["run_id"]}
        call(f"{mlflow}/api/2.0/mlflow/model-versions/create", body)
        tag = {"name": self.pipeline, "version": "1", "key": "tidemill.adapter_digest", "value": digest}
        call(f"{mlflow}/api/2.0/mlflow/model-versions/set-tag", tag)

    def route(self) -> None:
        arm = Arm(variant="champion", model_version=self.version, model=self.version, engine="local", weight=100)
        route = Route(pipeline=self.pipeline, epoch=1, time_ms=1, arms=(arm,))
        writing = io_kafka.producer(self.settings, "test-host")
        writing.produce(ROUTES.name, encode(route), self.pipeline)
        assert writing.flush(10) == 0

    def role(self) -> Role:
        return Role("host", self.settings, {}, file=self.file)

    def said(self, rule: str) -> list[ThresholdEvent]:
        found: list[ThresholdEvent] = self._all(THRESHOLDS)
        mine = f"tidemill/{self.pipeline}/host/node"
        return [event for event in found if event.source == mine and event.data.rule == rule]

    def states(self, rule: str) -> list[str]:
        return [event.data.state for event in self.said(rule)]

    def parts(self) -> set[str]:
        found: list[HostFigures] = self._all(HOSTS)
        return {event.part for event in found if event.host == "node"}

    def differences(self) -> float | None:
        """As the role's own page says."""
        page = httpx.get(f"http://127.0.0.1:{self.settings.port('host')}/metrics", trust_env=False).text
        lines = [line for line in page.splitlines() if line.startswith("tidemill_host_differences{")]
        return float(lines[0].split()[-1]) if lines else None

    def _all(self, topic: Topic) -> list[Any]:
        reader = io_kafka.follower(self.settings, "test-host", topic)
        try:
            decode = topic.decoder()
            return [decode(message.value()) for message in io_kafka.read_to_end(reader)]
        finally:
            reader.close()


@pytest.fixture
def world(settings: Settings, kafka: str, mlflow: str, unique: Callable[[str], str]) -> Iterator[World]:
    provider = FakeEngine({"large"})
    made = World(settings, unique("watched"), provider, free_port())
    made.route()
    yield made
    provider.close()


def test_a_host_says_what_is_wrong_once_and_when_it_is_right_again(world: World, mlflow: str) -> None:
    with ExitStack() as running:
        engine = running.enter_context(AdapterEngine(world.port))
        engine.adapters[world.version] = str(world.folder)
        role = running.enter_context(world.role().start().ready())
        role.until(lambda: "machine" in world.parts(), what="figures")
        role.until(lambda: world.states("host_disk") == ["firing"], what="a disk in use")
        role.until(lambda: world.differences() == 0, what="a comparison before anything is registered")
        world.register(mlflow)
        assert world.states("served") == []

        world.weights.write_bytes(b"somebody's own")
        role.until(lambda: world.states("served") == ["firing"], what="the changed file is noticed")
        assert "is not the registered one" in world.said("served")[0].data.summary
        role.kill()
        role.start().ready()
        role.until(lambda: world.differences() == 1, what="compared again")
        world.weights.write_bytes(b"as registered")
        role.until(lambda: world.states("served") == ["firing", "resolved"], what="the right file again")
        assert world.states("host_disk") == ["firing"], "said once, whoever starts again"

        state = world.settings.data_dir / "host" / "probe-far.json"
        role.until(lambda: _asked(state).get("share") == 1, what="the probes are learned")
        world.provider.voice = str.upper
        role.until(lambda: "firing" in world.states("probe"), what="the silent change")
        role.until(lambda: world.states("probe") == ["firing", "resolved"], what="the new answers are learned")
        assert "probe/far" in world.parts() and world.states("probe_identity") == []
        assert role.stop() == 0


def test_an_engine_that_is_away_is_an_alarm_until_it_is_back(world: World) -> None:
    with world.role().start().ready() as role:
        with AdapterEngine(world.port) as engine:
            engine.adapters[world.version] = str(world.folder)
            role.until(lambda: world.differences() == 0, what="the engine is heard of, and nothing differs")
        role.until(lambda: world.states("engine_unreachable") == ["firing"], what="it is away")
        with AdapterEngine(world.port):
            role.until(lambda: world.states("engine_unreachable") == ["firing", "resolved"], what="it is back")
            role.until(lambda: world.states("served")[-1:] == ["firing"], what="it lacks its adapter")
            assert "it is not loaded" in world.said("served")[-1].data.summary
        assert role.stop() == 0


def _asked(file: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads(file.read_text()) if file.exists() else {}
    return found
