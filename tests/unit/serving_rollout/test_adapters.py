"""Which adapters engines hold: champions first, the way back while a rollout is open, nothing in use is taken out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from serving.rollout.adapters import drained, removable, wanted
from serving.rollout.decide import begin
from serving.rollout.routes import route_of
from serving.versions import Placement
from tests.unit.serving_rollout.test_decide import JOB, NOW, PIPELINE, PLACES, PLAN, ROUTE, SETTINGS
from tidemill.events import GatewayStatus, RolloutState

V1, V2 = Placement("local", "schedule-v1"), Placement("local", "schedule-v2")


def rollout(phase: str) -> RolloutState:
    made = begin(JOB, ROUTE, "adapters/schedule-v1", PLAN, NOW)
    return msgspec.structs.replace(made, phase=phase, weight=25)


def gateway(epoch: int, *, in_flight: dict[str, int] | None = None) -> GatewayStatus:
    return GatewayStatus(gateway_id=f"g{epoch}", time_ms=NOW, epochs={"schedule": epoch}, in_flight=in_flight or {})


def held(state: RolloutState | None, **routes: Any) -> dict[Placement, Path]:
    return wanted(SETTINGS, routes, {} if state is None else {state.rollout_id: state})


def test_champion_of_the_settings_is_wanted_before_any_route() -> None:
    assert held(None) == {V1: Path("/adapters/schedule-v1")}


def test_open_rollout_wants_both_versions_wherever_it_stands() -> None:
    for phase in ("pending", "shadow", "canary", "promoting"):
        assert set(held(rollout(phase), schedule=ROUTE)) == {V1, V2}, phase


def test_every_champion_comes_before_any_candidate() -> None:
    other = PIPELINE.model_copy(update={"champion": "talk-v1", "champion_adapter": "adapters/talk-v1"})
    both = SETTINGS.model_copy(update={"pipelines": {**SETTINGS.pipelines, "talk": other}})
    state = rollout("shadow")
    order = list(wanted(both, {"schedule": ROUTE}, {state.rollout_id: state}))
    assert order == [V1, Placement("local", "talk-v1"), V2]


def test_after_promotion_only_the_new_champion_is_wanted() -> None:
    state = rollout("champion")
    assert set(held(state, schedule=route_of(state, ROUTE, PLACES, 50, NOW))) == {V2}


def test_old_champion_goes_when_every_live_gateway_left_it() -> None:
    state = rollout("champion")
    route = route_of(state, ROUTE, PLACES, 50, NOW)
    all_ = {state.rollout_id: state}

    def gone(*gateways: GatewayStatus) -> set[Placement]:
        return removable(SETTINGS, {"schedule": route}, all_, gateways)

    assert gone(gateway(2)) == {V1}
    assert gone(gateway(1)) == set(), "an older epoch is still applied"
    assert gone(gateway(2), gateway(3, in_flight={"schedule-v1": 1})) == set(), "a call is in flight"
    assert removable(SETTINGS, {"schedule": route}, all_, None) == set(), "who is live is not known yet"
    assert removable(SETTINGS, {"schedule": route}, {}, []) == set(), "what no rollout handled is somebody else's"


def test_candidate_goes_after_rollback_and_not_while_routed() -> None:
    state = rollout("rolled_back")
    back = route_of(state, route_of(rollout("canary"), ROUTE, PLACES, 50, NOW), PLACES, 50, NOW)
    assert removable(SETTINGS, {"schedule": back}, {state.rollout_id: state}, [gateway(3)]) == {V2}
    canary = route_of(rollout("canary"), ROUTE, PLACES, 50, NOW)
    assert removable(SETTINGS, {"schedule": canary}, {state.rollout_id: state}, [gateway(3)]) == set()


def test_drained_needs_epoch_and_no_call_in_flight() -> None:
    assert drained("schedule-v2", ROUTE, None) is None
    assert drained("schedule-v2", ROUTE, [])
    assert drained("schedule-v2", ROUTE, [gateway(1, in_flight={"schedule-v1": 3})])
    assert not drained("schedule-v1", ROUTE, [gateway(1, in_flight={"schedule-v1": 3})])
    assert not drained("schedule-v2", ROUTE, [gateway(0)])


def test_a_gateway_without_the_pipeline_holds_up_nothing() -> None:
    other = GatewayStatus(gateway_id="g", time_ms=NOW, epochs={"talk": 1}, in_flight={})
    assert drained("schedule-v1", ROUTE, [other, gateway(1)])
    assert not drained("schedule-v1", ROUTE, [other, gateway(0)])
