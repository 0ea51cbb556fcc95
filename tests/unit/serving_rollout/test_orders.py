"""A person's orders: what each does in each phase, who and why is kept, and none is carried out twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from serving.rollout.controller import Controller
from serving.rollout.decide import decide
from serving.rollout.moves import last_of
from serving.rollout.ordered import carry_out
from serving.rollout.orders import Order, place, waiting
from tests.unit.serving_rollout.kill_world import World
from tests.unit.serving_rollout.test_decide import JOB, NOW, PIPELINE, PLAN, ROUTE, figures, in_phase, seen
from tidemill.cli.rollout import order_of
from tidemill.clock import ManualClock
from tidemill.errors import Stop
from tidemill.events import JobState, RolloutState, Route
from tidemill.settings import Settings

CANARY = in_phase("canary", step=0, weight=25)
PAUSED = msgspec.structs.replace(CANARY, hold="paused", hold_since_ms=NOW)
FREEZE = "freeze window 'weekend' holds every step forward"


def order(act: Any, **what: Any) -> Order:
    given: dict[str, Any] = {
        "order_id": f"order-{act}",
        "pipeline": "schedule",
        "by": "anna",
        "reason": "wrong language",
    }
    return Order(**given | {"act": act, "time_ms": NOW, "rollout_id": CANARY.rollout_id} | what)


def after(act: Any, state: RolloutState, freeze: str = "", **what: Any) -> RolloutState:
    moved = carry_out(order(act, **what), state, PLAN, freeze, NOW + 1000)
    assert moved is not None and moved.state.seq == state.seq + 1
    assert [(o.act, o.by, o.reason) for o in moved.state.orders] == [(act, "anna", "wrong language")]
    return moved.state


class Written:
    """What the controller needs of its log for an order."""

    def __init__(self, state: RolloutState) -> None:
        self.rollouts = {state.rollout_id: state}
        self.routes = {"schedule": ROUTE}
        self.jobs: dict[str, JobState] = {}

    def write(self, state: RolloutState | None, route: Route | None) -> None:
        assert state is not None
        self.rollouts[state.rollout_id] = state
        if route is not None:
            self.routes["schedule"] = route


def controller(folder: Path, written: Written) -> Controller:
    settings = Settings.model_validate(
        {"data_dir": folder, "engines": {"local": {}}, "pipelines": {"schedule": PIPELINE.model_dump()}}
    )
    nothing: Any = None
    return Controller(settings, cast(Any, written), nothing, nothing, ManualClock(NOW), engine=lambda _: nothing)


def test_an_order_takes_the_candidate_out_of_the_route_and_is_used_up(tmp_path: Path) -> None:
    written = Written(CANARY)
    steered = controller(tmp_path, written)
    place(steered._settings, order("rollback"))
    steered._take_orders()
    state, route = written.rollouts[CANARY.rollout_id], written.routes["schedule"]
    assert (state.phase, state.weight, state.reason) == ("rolled_back", 0, "by order, by anna: wrong language")
    assert [(arm.model_version, arm.weight) for arm in route.arms] == [("schedule-v1", 100)]
    assert route.epoch == state.route_epoch == ROUTE.epoch + 1
    assert waiting(steered._settings) == []


def test_an_order_that_is_read_twice_is_carried_out_once(tmp_path: Path) -> None:
    written = Written(CANARY)
    steered = controller(tmp_path, written)
    for _ in range(2):
        place(steered._settings, order("promote"))
        steered._take_orders()
    state = written.rollouts[CANARY.rollout_id]
    assert (state.phase, state.weight, len(state.orders)) == ("canary", 50, 1)


def test_an_order_for_another_rollout_or_of_no_sense_changes_nothing(tmp_path: Path) -> None:
    written = Written(CANARY)
    steered = controller(tmp_path, written)
    place(steered._settings, order("rollback", rollout_id="another"))
    place(steered._settings, order("abort", pipeline="nobody's"))
    place(steered._settings, order("pause")).write_text("{")
    steered._take_orders()
    assert written.rollouts == {CANARY.rollout_id: CANARY} and waiting(steered._settings) == []


def test_paused_until_it_is_resumed_and_the_time_is_none_of_the_steps() -> None:
    paused = after("pause", CANARY)
    assert (paused.phase, paused.weight, paused.hold) == ("canary", 25, "paused")
    assert paused.reason == "paused by anna: wrong language"
    moved = carry_out(order("resume"), paused, PLAN, "", NOW + 400_000)
    assert moved is not None and not moved.reroute
    assert (moved.state.hold, moved.state.held_ms, moved.state.reason) == (
        "",
        399_000,
        "schedule-v2 answers 25 % of traffic",
    )
    early = decide(moved.state, PLAN, seen(500, figures=figures(1, 1, 0)))
    assert early is not None and early.state.phase == "canary", "100 s of 180 have run"
    late = decide(moved.state, PLAN, seen(600, figures=figures(1, 1, 0)))
    assert late is not None and late.state.hold == "inconclusive"


@pytest.mark.parametrize(
    ("at_once", "phase", "weight"), [(False, "canary", 50), (True, "promoting", 100)], ids=["step", "at once"]
)
def test_promoted_by_hand_also_out_of_a_pause(at_once: bool, phase: str, weight: int) -> None:
    state = after("promote", PAUSED, at_once=at_once)
    assert (state.phase, state.weight, state.hold) == (phase, weight, "")
    assert state.verdicts[-1].check == "canary-25", "the step's end, as users who stay are counted by it"


def test_a_promotion_in_a_freeze_window_needs_a_word_more() -> None:
    held = after("promote", CANARY, FREEZE)
    assert held.phase == "canary" and held.weight == 25 and FREEZE in held.orders[0].refused
    assert after("promote", CANARY, FREEZE, despite_freeze=True).weight == 50
    assert after("rollback", CANARY, FREEZE).phase == "rolled_back"


@pytest.mark.parametrize(
    ("act", "state", "why"),
    [
        ("abort", in_phase("promoting"), "takes all traffic already"),
        ("abort", in_phase("champion"), "takes all traffic already"),
        ("promote", in_phase("pending"), "not in its engine yet"),
        ("promote", in_phase("promoting"), "takes all traffic already"),
        ("pause", PAUSED, "paused already"),
        ("resume", CANARY, "not paused"),
        ("rollback", in_phase("rolled_back"), "has ended"),
        ("abort", in_phase("failed"), "has ended"),
    ],
)
def test_what_cannot_be_done_is_refused_and_kept(act: str, state: RolloutState, why: str) -> None:
    refused = after(act, state)
    assert refused.phase == state.phase and why in refused.orders[0].refused
    with pytest.raises(Stop, match=why):
        order_of(cast(Any, act), "schedule", state, "why", "anna", NOW, "")


@pytest.mark.parametrize("phase", ["pending", "shadow", "canary", "promoting"])
def test_the_way_back_is_open_from_every_open_phase(phase: str) -> None:
    assert after("rollback", in_phase(phase)).phase == "rolled_back"


def test_an_order_needs_a_rollout_and_a_reason() -> None:
    assert order_of("abort", "schedule", CANARY, " bad ", "anna", NOW, "").reason == "bad"
    with pytest.raises(Stop, match="no rollout"):
        order_of("abort", "schedule", None, "bad", "anna", NOW, "")
    with pytest.raises(Stop, match="--reason"):
        order_of("pause", "schedule", CANARY, "  ", "anna", NOW, "")


def test_back_from_a_settled_champion_is_a_start_of_the_one_before() -> None:
    found = order_of("rollback", "schedule", in_phase("champion"), "bad", "anna", NOW, FREEZE)
    assert (found.act, found.version, found.at_once, found.despite_freeze) == ("start", "schedule-v1", True, True)


def test_a_version_is_started_by_hand_once_and_by_the_plan(tmp_path: Path) -> None:
    written = Written(in_phase("rolled_back"))
    steered = controller(tmp_path, written)
    (tmp_path / "adapters" / "schedule-v3").mkdir(parents=True)
    for _ in range(2):
        place(steered._settings, order("start", version="schedule-v3", rollout_id=""))
        steered._take_orders()
    state = list(written.rollouts.values())[-1]
    assert len(written.rollouts) == 2
    assert (state.phase, state.candidate_version, state.champion_version) == ("pending", "schedule-v3", "schedule-v1")
    assert state.steps == steered._settings.pipelines["schedule"].rollout.steps
    place(steered._settings, order("start", order_id="another", version="schedule-v4", rollout_id=""))
    steered._take_orders()
    refused = list(written.rollouts.values())[-1]
    assert refused.phase == "failed" and "under way" in refused.orders[0].refused


@pytest.mark.parametrize("version", ["schedule-v9", "schedule-v1", "support-v1", "../../etc"])
def test_what_cannot_be_started_has_ended_at_once_and_says_why(tmp_path: Path, version: str) -> None:
    written = Written(in_phase("rolled_back"))
    steered = controller(tmp_path, written)
    place(steered._settings, order("start", version=version, rollout_id=""))
    steered._take_orders()
    state = list(written.rollouts.values())[-1]
    assert state.phase == "failed" and state.orders[0].refused and written.routes["schedule"] == ROUTE


@pytest.mark.parametrize("open_one", [CANARY, in_phase("champion", watch="open")], ids=["canary", "watched champion"])
def test_an_order_means_the_rollout_under_way_and_no_start_that_was_refused_since(
    tmp_path: Path, open_one: RolloutState
) -> None:
    written = Written(open_one)
    steered = controller(tmp_path, written)
    steered._clock.advance(60_000)  # type: ignore[attr-defined]
    place(steered._settings, order("start", version="schedule-v7", rollout_id=""))
    steered._take_orders()
    refused = list(written.rollouts.values())[-1]
    assert refused.phase == "failed" and refused.created_ms > open_one.created_ms
    states = list(written.rollouts.values())
    for found in (states, states[::-1]):
        last = last_of(found)["schedule"]
        assert last == last_of(found, refused=True)["schedule"] == open_one
        assert order_of("rollback", "schedule", last, "bad", "anna", NOW, "").rollout_id == open_one.rollout_id


def test_a_refused_start_is_shown_and_meant_by_no_order(tmp_path: Path) -> None:
    settled = in_phase("champion")
    written = Written(settled)
    steered = controller(tmp_path, written)
    steered._clock.advance(60_000)  # type: ignore[attr-defined]
    place(steered._settings, order("start", version="schedule-v9", rollout_id=""))
    steered._take_orders()
    states = written.rollouts.values()
    assert "no such version" in last_of(states, refused=True)["schedule"].reason
    assert (
        order_of("rollback", "schedule", last_of(states)["schedule"], "bad", "anna", NOW, "").version == "schedule-v1"
    )


def test_the_last_rollout_is_known_by_its_newest_state_and_by_the_route() -> None:
    ended = in_phase("rolled_back", seq=9, route_epoch=4)
    later = in_phase("champion", rollout_id="later", route_epoch=6, created_ms=ended.created_ms - 60_000)
    assert last_of([CANARY, later, ended]) == {"schedule": later}, "the clock went back; the canary has ended"
    assert last_of([later, in_phase("pending", rollout_id="new", route_epoch=6, created_ms=1)])["schedule"].phase == (
        "pending"
    )


def test_orders_that_another_user_keeps_to_itself_hold_up_no_rollout(tmp_path: Path) -> None:
    world = World(tmp_path)
    (tmp_path / "orders").write_text("not for us to read")
    world.jobs[JOB.job_id] = JOB
    world.until(lambda w: w.rollout is not None and w.rollout.phase == "shadow", "no candidate tried")
    assert "must own the folder" in world.controller.troubles["orders"]
    (tmp_path / "orders").unlink()
    world.controller._take_orders()
    assert "orders" not in world.controller.troubles


def test_a_file_that_cannot_be_read_or_removed_is_said_and_the_next_one_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Written(CANARY)
    steered = controller(tmp_path, written)
    paused = place(steered._settings, order("pause", time_ms=1))
    (paused.parent / "0-unreadable.json").mkdir()
    place(steered._settings, order("rollback", time_ms=2))
    plainly = Path.unlink

    def unlink(file: Path, missing_ok: bool = False) -> None:
        if file == paused:
            raise PermissionError(13, "Permission denied", str(file))
        plainly(file, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", unlink)
    for _ in range(2):
        steered._take_orders()
        assert "Permission denied" in steered.troubles["orders"]
    state = written.rollouts[CANARY.rollout_id]
    assert state.phase == "rolled_back" and [taken.act for taken in state.orders] == ["pause", "rollback"]
    assert [file.name for file, _ in waiting(steered._settings)] == ["0-unreadable.json", paused.name]


@pytest.mark.parametrize(
    ("other", "over"),
    [
        (in_phase("rolled_back", created_ms=NOW + 86_400_000), False),
        (in_phase("champion", created_ms=NOW + 86_400_000, route_epoch=3), False),
        (in_phase("pending", created_ms=1, route_epoch=7), True),
        (in_phase("rolled_back", created_ms=1, route_epoch=8), True),
        (in_phase("failed", created_ms=NOW + 86_400_000, route_epoch=8), False),
    ],
)
def test_what_began_since_is_known_by_the_route_and_not_by_the_clock(
    tmp_path: Path, other: RolloutState, over: bool
) -> None:
    watched = in_phase("champion", watch="open", route_epoch=7)
    written = Written(watched)
    written.rollouts["other"] = msgspec.structs.replace(other, rollout_id="other")
    steered = controller(tmp_path, written)
    assert steered._superseded(watched) is over
    assert not steered._superseded(in_phase("canary", route_epoch=1)), "the one that is open is the last"
    place(steered._settings, order("rollback"))
    steered._take_orders()
    assert (written.rollouts[watched.rollout_id].phase == "rolled_back") is not over


@pytest.mark.parametrize(("despite", "phase"), [(False, "pending"), (True, "promoting")])
def test_a_start_at_once_that_is_loaded_in_a_freeze_window_needs_the_word_more(
    tmp_path: Path, despite: bool, phase: str
) -> None:
    written = Written(in_phase("rolled_back"))
    steered = controller(tmp_path, written)
    (tmp_path / "adapters" / "schedule-v3").mkdir(parents=True)
    place(steered._settings, order("start", version="schedule-v3", rollout_id="", at_once=True, despite_freeze=despite))
    steered._take_orders()
    begun = list(written.rollouts.values())[-1]
    found = decide(begun, PLAN, seen(1, loaded=True, freeze=FREEZE))
    assert found is not None and (found.state.phase, found.state.hold) == (phase, "" if despite else "frozen")
    later = decide(found.state, PLAN, seen(2, loaded=True)) if not despite else found
    assert later is not None and later.state.phase == "promoting"
