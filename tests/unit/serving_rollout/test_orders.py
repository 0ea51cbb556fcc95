"""A person ends a rollout: the order, the way back, and where there is none."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from serving.rollout.controller import Controller
from serving.rollout.decide import withdraw
from serving.rollout.orders import RollbackOrder, place, waiting
from tests.unit.serving_rollout.test_decide import NOW, PIPELINE, ROUTE, in_phase
from tidemill.cli.rollout import rollback_order
from tidemill.clock import ManualClock
from tidemill.errors import Stop
from tidemill.events import RolloutState, Route
from tidemill.settings import Settings

CANARY = in_phase("canary", step=0, weight=25)


class Written:
    """What the controller needs of its log for an order."""

    def __init__(self, state: RolloutState) -> None:
        self.rollouts = {state.rollout_id: state}
        self.routes = {"schedule": ROUTE}

    def write(self, state: RolloutState | None, route: Route | None) -> None:
        assert state is not None and route is not None
        self.rollouts[state.rollout_id], self.routes["schedule"] = state, route


def controller(folder: Path, written: Written) -> Controller:
    settings = Settings.model_validate(
        {"data_dir": folder, "engines": {"local": {}}, "pipelines": {"schedule": PIPELINE.model_dump()}}
    )
    nothing: Any = None
    return Controller(settings, cast(Any, written), nothing, nothing, ManualClock(NOW), engine=lambda _: nothing)


def test_an_order_takes_the_candidate_out_of_the_route_and_is_used_up(tmp_path: Path) -> None:
    written = Written(CANARY)
    steered = controller(tmp_path, written)
    place(steered._settings, RollbackOrder(rollout_id=CANARY.rollout_id, reason="wrong language"))
    steered._take_orders()
    state, route = written.rollouts[CANARY.rollout_id], written.routes["schedule"]
    assert (state.phase, state.weight, state.reason) == ("rolled_back", 0, "by order: wrong language")
    assert [(arm.model_version, arm.weight) for arm in route.arms] == [("schedule-v1", 100)]
    assert route.epoch == state.route_epoch == ROUTE.epoch + 1
    assert waiting(steered._settings) == []


def test_an_order_for_another_rollout_or_of_no_sense_changes_nothing(tmp_path: Path) -> None:
    written = Written(CANARY)
    steered = controller(tmp_path, written)
    place(steered._settings, RollbackOrder(rollout_id="another", reason="late"))
    place(steered._settings, RollbackOrder(rollout_id="broken", reason="")).write_text("{")
    steered._take_orders()
    assert written.rollouts == {CANARY.rollout_id: CANARY} and waiting(steered._settings) == []


@pytest.mark.parametrize("phase", ["promoting", "champion", "rolled_back", "failed"])
def test_there_is_no_way_back_from_here(phase: str) -> None:
    state = in_phase(phase)
    assert withdraw(state, "why", NOW) is None
    with pytest.raises(Stop, match=r"takes all traffic already|no rollout under way"):
        rollback_order("schedule", state, "why")


def test_an_order_needs_a_rollout_and_a_reason() -> None:
    assert rollback_order("schedule", CANARY, " bad ") == RollbackOrder(rollout_id=CANARY.rollout_id, reason="bad")
    with pytest.raises(Stop, match="no rollout under way"):
        rollback_order("schedule", None, "bad")
    with pytest.raises(Stop, match="--reason"):
        rollback_order("schedule", CANARY, "  ")
