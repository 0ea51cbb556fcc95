"""Versions that no training makes: where each is served, what must be loaded, what its calls carry; blue/green."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace

from serving.gateway.asked import asked_as, parse
from serving.rollout.adapters import need, wanted
from serving.rollout.holdings import Holdings
from serving.rollout.ordered import begin_by_order
from serving.rollout.orders import Order
from serving.rollout.routes import first_route, route_of
from serving.versions import Answering, Placement
from tests.unit.serving_rollout.kill_world import World
from tests.unit.serving_rollout.test_decide import JOB, NOW, PLAN
from tidemill.errors import SettingsError
from tidemill.settings import Settings
from tidemill.settings.load import checked

ENGINES = {"local": {}, "green": {"base_model": "base-int8"}, "cloud": {"kind": "provider"}}
VERSIONS: dict[str, dict[str, Any]] = {
    "talk-v10": {"kind": "adapter", "adapter": "/made/elsewhere"},
    "talk-v11": {"kind": "model", "engine": "green"},
    "talk-v12": {"kind": "provider", "engine": "cloud", "model": "large-1"},
    "talk-v13": {"kind": "router", "engine": "local", "model": "router"},
    "talk-v14": {"kind": "prompt", "prompt_version": "2", "system_prompt": "Be brief."},
    "talk-v15": {"kind": "retrieval", "of": "talk-v11", "upstream_headers": {"X-Retrieval-Index": "faq-2"}},
}
PIPELINE = {"engine": "local", "champion": "talk-v1", "champion_adapter": "/a/talk-v1", "system_prompt": "Be kind."}


def settings(**changes: Any) -> dict[str, Any]:
    pipeline = PIPELINE | {"versions": VERSIONS} | changes
    return {"data_dir": "/data", "engines": ENGINES, "pipelines": {"talk": pipeline}}


SETTINGS = Settings.model_validate(settings())


@pytest.mark.parametrize(
    ("version", "engine", "model", "adapter"),
    [
        ("talk-v1", "local", "talk-v1", "/a/talk-v1"),
        ("talk-v2", "local", "talk-v2", "/data/adapters/talk-v2"),
        ("talk-v10", "local", "talk-v10", "/made/elsewhere"),
        ("talk-v11", "green", "base-int8", None),
        ("talk-v12", "cloud", "large-1", None),
        ("talk-v13", "local", "router", None),
        ("talk-v14", "local", "talk-v1", "/a/talk-v1"),
        ("talk-v15", "green", "base-int8", None),
    ],
)
def test_each_version_has_its_place_and_its_need(version: str, engine: str, model: str, adapter: str | None) -> None:
    found = need(SETTINGS, "talk", version, ())
    assert found.place == Placement(engine, model)
    assert found.adapter == (Path(adapter) if adapter else None)


def test_blue_and_green_serve_side_by_side_and_both_stay_while_it_may_go_back() -> None:
    order = Order(
        order_id="o", act="start", pipeline="talk", by="anna", reason="cheaper", time_ms=NOW, version="talk-v11"
    )
    blue = first_route(SETTINGS, "talk", NOW)
    state = begin_by_order(order, blue, ("", "/a/talk-v1"), PLAN, "", NOW)
    places = {each: need(SETTINGS, "talk", each, ()).place for each in (state.champion_version, "talk-v11")}

    def routed(phase: str, weight: int = 0) -> list[tuple[str, str, str, int]]:
        route = route_of(replace(state, phase=phase, weight=weight), blue, places, 50, NOW)
        return [(arm.variant, arm.engine, arm.model, arm.weight) for arm in route.arms]

    assert routed("canary", 25) == [("champion", "local", "talk-v1", 75), ("canary", "green", "base-int8", 25)]
    assert routed("promoting", 100) == [("champion", "green", "base-int8", 100)]
    assert routed("rolled_back") == [("champion", "local", "talk-v1", 100)]
    held = wanted(SETTINGS, {"talk": blue}, {state.rollout_id: state})
    assert held == {Placement("local", "talk-v1"): Path("/a/talk-v1")}


def test_a_call_has_the_prompt_the_headers_and_the_prompt_version_of_who_answers() -> None:
    answering = Answering(SETTINGS)
    body = {"model": "talk", "messages": [{"role": "user", "content": "hello"}]}
    first = parse(body, answering.by("talk", "talk-v1"))
    assert [m["content"] for m in first.upstream["messages"]] == ["Be kind.", "hello"]
    brief = asked_as(first, answering.by("talk", "talk-v14"))
    assert [m["content"] for m in brief.upstream["messages"]] == ["Be brief.", "hello"]
    assert answering.by("talk", "talk-v14").prompt_version == "2"
    index = asked_as(brief, answering.by("talk", "talk-v15"))
    assert [m["content"] for m in index.upstream["messages"]] == ["Be kind.", "hello"]
    assert index.headers == {"X-Retrieval-Index": "faq-2"} and first.headers == {}
    own = parse(body | {"messages": [{"role": "system", "content": "mine"}]}, answering.by("talk", "talk-v14"))
    assert [m["content"] for m in own.upstream["messages"]] == ["mine"]


@pytest.mark.parametrize(
    ("version", "said", "why"),
    [
        ("talk-v9", {"kind": "model"}, "kind 'model' needs it"),
        ("talk-v9", {"kind": "model", "engine": "gren"}, "'gren' is not in engines"),
        ("talk-v9", {"kind": "provider", "engine": "green", "model": "m"}, "say kind: model"),
        ("talk-v9", {"kind": "prompt", "prompt_version": "3", "engine": "green"}, "says nothing of a version of kind"),
        ("talk-v9", {"kind": "prompt", "prompt_version": "3", "of": "talk-v14"}, "is of kind 'prompt' itself"),
        ("talk-v9", {"kind": "retrieval", "upstream_headers": {"Host": "x"}}, "set by the gateway itself"),
        ("talk-v9", {"kind": "retrieval", "upstream_headers": {"X-I": "a\nb"}}, "no HTTP header"),
        ("other-v9", {"kind": "model", "engine": "green"}, "is not <pipeline>-v<N>"),
    ],
)
def test_a_version_that_cannot_be_is_said_at_the_start(version: str, said: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        checked(Settings, settings(versions=VERSIONS | {version: said}), Path("a.yaml"), {})


def test_a_trained_candidate_of_a_declared_name_is_not_rolled_out(tmp_path: Path) -> None:
    world = World(tmp_path)
    declared = {"schedule-v2": {"kind": "provider", "engine": "cloud", "model": "large-1"}}
    pipeline = world.settings.pipelines["schedule"].model_dump() | {"versions": declared}
    world.settings = Settings.model_validate(
        {
            "data_dir": tmp_path,
            "engines": {"local": {}, "cloud": {"kind": "provider"}},
            "pipelines": {"schedule": pipeline},
        }
    )
    world.controller = world._made()
    world.jobs[JOB.job_id] = JOB
    world.until(World.at_rest, "the refusal is not noted")
    state = world.rollout
    assert state is not None and state.phase == "failed"
    assert "declare schedule-v2 under versions (kind provider)" in state.reason
    assert [arm.model_version for arm in world.routes["schedule"].arms] == ["schedule-v1"]
    assert world.marked == {"schedule-v2": "failed"}


@pytest.mark.parametrize(
    ("version", "sent"),
    [
        ("talk-v1", {"X-Token": "own"}),
        ("talk-v10", {"X-Token": "own"}),
        ("talk-v11", {}),
        ("talk-v12", {}),
        ("talk-v13", {"X-Token": "own"}),
        ("talk-v14", {"X-Token": "own"}),
        ("talk-v15", {"X-Retrieval-Index": "faq-2"}),
        ("talk-v16", {}),
        ("talk-v17", {"X-Key": "large"}),
    ],
)
def test_what_the_own_engine_is_told_no_other_one_hears(version: str, sent: dict[str, str]) -> None:
    more = {
        "talk-v16": {"kind": "prompt", "of": "talk-v12", "prompt_version": "2"},
        "talk-v17": VERSIONS["talk-v12"] | {"upstream_headers": {"X-Key": "large"}},
    }
    told = Settings.model_validate(settings(versions=VERSIONS | more, upstream_headers={"X-Token": "own"}))
    pipeline = told.pipelines["talk"]
    answering = Answering(told).by("talk", version)
    assert answering.upstream_headers == sent
    asked = parse({"messages": [{"role": "user", "content": "hi"}]}, pipeline)
    assert (asked_as(asked, answering) if answering is not pipeline else asked).headers == sent


def test_an_engine_that_serves_another_model_is_told_by_name_until_it_serves_this_one() -> None:
    class Green:
        served = frozenset({"base"})

        def models(self) -> frozenset[str]:
            return self.served

        def load(self, model: str, folder: Path | str) -> bool:
            raise AssertionError(model)

        def unload(self, model: str) -> bool:
            raise AssertionError(model)

    green = Green()
    known = SimpleNamespace(rollouts={}, routes={"talk": first_route(SETTINGS, "talk", NOW)})
    holdings = Holdings(SETTINGS, known, lambda _: green, {})
    place = Placement("green", "base-int8")
    assert holdings.loaded(place) is None and not holdings.not_served(place), "it was not asked yet"
    holdings.reconcile("green", (), NOW)
    assert holdings.not_served(place).endswith("serves base")
    green.served = frozenset({"base-int8"})
    holdings.reconcile("green", (), NOW)
    assert holdings.loaded(place) and not holdings.not_served(place)
