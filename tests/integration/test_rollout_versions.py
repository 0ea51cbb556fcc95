"""Versions that no training makes, by order through the real controller and Kafka to the real gateway's upstream."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from serving.rollout.orders import Order, place
from tests.integration.fake_engine import FakeEngine
from tests.integration.gateway_process import Stage
from tests.integration.role_process import Role
from tests.integration.store_fixture import StoreProcess
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.events import RolloutState
from tidemill.io.clickhouse import Store
from tidemill.io.secrets import make_secrets
from tidemill.local.ports import free_port_base
from tidemill.settings import load_settings
from tidemill.topics import RESPONSES, ROLLOUTS, ROUTES

SETTINGS = """
deployment: {name}
data_dir: {data_dir}
local: {{port_base: {port_base}}}
kafka: {{bootstrap: "{bootstrap}"}}
clickhouse: {{url: "{store}", database: {database}}}
mlflow: {{url: "{mlflow}"}}
engines:
  main: {{url: "{main}"}}
  cloud: {{kind: provider, url: "{cloud}"}}
pipelines:
  talk:
    engine: main
    champion: talk-v1
    champion_adapter: a
    system_prompt: be kind
    prompt_version: '1'
    upstream_headers: {{X-Own: mine}}
    rollout: {{steps: [100], shadow_percent: 0, watch_s: 0}}
    versions:
      talk-v1001: {{kind: prompt, prompt_version: '2', system_prompt: be brief}}
      talk-v1002: {{kind: provider, engine: cloud, model: large-1, upstream_headers: {{X-Tier: gold}}}}
      talk-v1003: {{kind: retrieval, of: talk-v1, upstream_headers: {{X-Retrieval-Index: faq-2}}}}
      talk-v1004: {{kind: router, engine: cloud, model: auto, upstream_headers: {{X-Tier: mixed}}}}
"""
NAMED = ("X-Own", "X-Tier", "X-Retrieval-Index")
"""Headers of the settings."""
CLOCK = SystemClock()


@pytest.fixture
def stage(
    tmp_path: Path, kafka: str, mlflow: str, store: StoreProcess, fresh_topics: None, unique: Callable[[str], str]
) -> Iterator[tuple[Stage, FakeEngine]]:
    """Gateway and controller on the run's broker, store and registry; an own engine, and a provider's."""
    main, cloud, file = FakeEngine({"talk-v1", "base"}), FakeEngine({"large-1", "auto"}), tmp_path / "tidemill.yaml"
    text = SETTINGS.format(
        name=unique("versions"),
        data_dir=tmp_path / "data",
        port_base=free_port_base(),
        bootstrap=kafka,
        store=store.url,
        database=unique("versions").replace("-", "_"),
        mlflow=mlflow,
        main=main.url,
        cloud=cloud.url,
    )
    file.write_text(text)
    settings = load_settings(file, {})
    make_secrets(settings)
    Store(settings).migrate()
    made = Stage(settings, file, main)
    rollout = Role("rollout", settings, {}, file).start()
    made.roles.append(rollout)
    made.gateway()
    rollout.ready()
    yield made, cloud
    made.close()
    cloud.close()


def take_over(stage: Stage, version: str) -> None:
    """Somebody orders the version's rollout, and it becomes the champion: the gateway applies its route by then."""
    now = CLOCK.now_ms()
    order = Order(
        order_id=f"start-{version}",
        act="start",
        pipeline="talk",
        by="anna",
        reason="to see it",
        time_ms=now,
        version=version,
    )
    place(stage.settings, order)

    def champion() -> bool:
        states: list[RolloutState] = stage.events(ROLLOUTS)
        return any((state.candidate_version, state.phase) == (version, "champion") for state in states)

    until(champion, within_s=120, what=f"{version} is the champion")


def asked(stage: Stage, engine: FakeEngine, text: str) -> tuple[str, str, dict[str, str]]:
    """A call through the gateway: the model, the system prompt and the headers that its upstream was asked with."""
    before = len(engine.bodies)
    with stage.http() as http:
        answer = http.post("/v1/chat/completions", json={"model": "talk", "messages": [_user(text)]})
    assert answer.status_code == 200 and answer.json()["model"] == "talk", answer.text
    assert len(engine.bodies) == before + 1, "its own upstream alone was asked"
    body, headers = engine.bodies[-1], engine.headers[-1]
    assert body["messages"][1:] == [_user(text)]
    named: dict[str, str] = {name: headers[name] for name in NAMED if name in headers}
    return body["model"], body["messages"][0]["content"], named


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_a_prompt_a_providers_model_an_index_and_a_router_take_over_by_order_and_their_calls_show_it(
    stage: tuple[Stage, FakeEngine],
) -> None:
    made, cloud = stage

    until(lambda: made.events(ROUTES), within_s=120, what="the first route")
    assert asked(made, made.engine, "one") == ("talk-v1", "be kind", {"X-Own": "mine"})
    take_over(made, "talk-v1001")
    assert asked(made, made.engine, "two") == ("talk-v1", "be brief", {"X-Own": "mine"})
    take_over(made, "talk-v1002")
    assert asked(made, cloud, "three") == ("large-1", "be kind", {"X-Tier": "gold"})
    until(lambda: "talk-v1" not in made.engine.loaded, within_s=120, what="the old adapter is taken out")
    take_over(made, "talk-v1003")
    assert asked(made, made.engine, "four") == ("talk-v1", "be kind", {"X-Own": "mine", "X-Retrieval-Index": "faq-2"})
    cloud.signature = {"model": "small-3"}  # a router's answer names the model that it chose
    take_over(made, "talk-v1004")
    assert asked(made, cloud, "five") == ("auto", "be kind", {"X-Tier": "mixed"})

    answers = until(lambda: len(found := made.events(RESPONSES)) == 5 and found, what="the answers' events")
    told = {row.gen_ai_output_text: (row.model_version, row.variant, row.prompt_version) for row in answers}
    assert told == {
        "one": ("talk-v1", "champion", "1"),
        "two": ("talk-v1001", "champion", "2"),
        "three": ("talk-v1002", "champion", "1"),
        "four": ("talk-v1003", "champion", "1"),
        "five": ("talk-v1004", "champion", "1"),
    }
    chosen = {row.gen_ai_output_text: row.gen_ai_response_model for row in answers}
    assert chosen["three"] == "large-1" and chosen["five"] == "small-3"
