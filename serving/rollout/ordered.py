"""What a person's order does to a rollout: pure. Each order is noted in the state, also one that is refused."""

from __future__ import annotations

from typing import Literal

import msgspec

from serving.rollout.decide import REGISTRY_DONE
from serving.rollout.moves import Next, forward, hold, release, rolled_back, step_of, to_step
from serving.rollout.orders import Order
from tidemill.events import OrderTaken, RolloutState, Route, Verdict
from tidemill.events.lifecycle import ORDER
from tidemill.ids import derived_id
from tidemill.settings import RolloutSettings

SERVING = ("promoting", "champion")


def refusal(order: Order, state: RolloutState, freeze: str, *, superseded: bool = False) -> str:
    """Why the order cannot be carried out now, and what can be done; empty: it can. ``superseded``: another rollout of
    the pipeline has begun since."""
    version, phase = state.candidate_version, state.phase
    if superseded:
        return "another rollout of the pipeline has begun since; give the order anew"
    if phase in ("rolled_back", "failed"):
        return f"the rollout of {version} has ended ({phase}); start it again with `start {version}`"
    if order.act in ("pause", "promote") and phase in SERVING:
        return f"{version} takes all traffic already"
    if order.act == "pause" and state.hold == "paused":
        return "it is paused already"
    if order.act == "resume" and state.hold != "paused":
        return "it is not paused"
    if order.act == "promote" and phase == "pending":
        return f"{version} is not in its engine yet"
    if order.act == "promote" and freeze and not order.despite_freeze:
        return f"{freeze}; order it with --despite-freeze"
    if order.act == "abort" and phase in SERVING:
        return f"{version} takes all traffic already; `rollback` takes it back"
    if order.act == "rollback" and phase == "champion" and state.watch != "open":
        return f"its watch is over and {state.champion_version} may not be loaded; `start {state.champion_version}`"
    return ""


def carry_out(
    order: Order, state: RolloutState, plan: RolloutSettings, freeze: str, now_ms: int, *, superseded: bool = False
) -> Next | None:
    """The state after the order; None where it was taken before. ``freeze``: the window that holds, in words."""
    if any(taken.order_id == order.order_id for taken in state.orders):
        return None
    refused = refusal(order, state, freeze, superseded=superseded)
    noted = _noted(state, order, now_ms, refused)
    said = f"by {order.by or 'somebody'}: {order.reason}"
    if refused:
        return Next(msgspec.structs.replace(noted, seq=state.seq + 1, time_ms=now_ms), False)
    match order.act:
        case "pause":
            return hold(noted, now_ms, "paused", f"paused {said}")
        case "resume":
            return Next(release(noted, plan, now_ms), False)
        case "promote":
            passed = _with_verdict(noted, step_of(state), "pass", f"promoted {said}", now_ms)
            last = len(state.steps) - 1
            return to_step(passed, last, plan, now_ms) if order.at_once else forward(passed, plan, now_ms)
        case _:
            return rolled_back(_with_verdict(noted, ORDER, "fail", said, now_ms), now_ms, f"by order, {said}")


def begin_by_order(
    order: Order, route: Route, folders: tuple[str, str], plan: RolloutSettings, refused: str, now_ms: int
) -> RolloutState:
    """The first state of a rollout that a person starts; ``refused``: it has ended at once, and says why.

    ``folders``: of the candidate's and of the champion's adapter, empty where there is none. The same order always has
    the same rollout.
    """
    champion = next(arm for arm in route.arms if arm.variant == "champion")
    said = f"by {order.by or 'somebody'}: {order.reason}"
    state = RolloutState(
        rollout_id=started_id(order),
        seq=1,
        time_ms=now_ms,
        pipeline=order.pipeline,
        phase="failed" if refused else "pending",
        reason=f"not started ({said}): {refused}" if refused else f"started {said}; loading {order.version}",
        candidate_version=order.version,
        candidate_adapter_dir=folders[0],
        champion_version=champion.model_version,
        champion_adapter_dir=folders[1],
        registered_name="" if refused else order.pipeline,
        steps=(100,) if order.at_once else plan.steps,
        route_epoch=route.epoch,
        step_started_ms=now_ms,
        created_ms=now_ms,
        figures={REGISTRY_DONE: 1.0} if refused else {},
    )
    return _noted(state, order, now_ms, refused)


def started_id(order: Order) -> str:
    """The rollout that an order to start causes."""
    return derived_id("rollout", order.order_id)


def _noted(state: RolloutState, order: Order, now_ms: int, refused: str) -> RolloutState:
    taken = OrderTaken(
        order_id=order.order_id,
        act=order.act,
        by=order.by,
        reason=order.reason,
        time_ms=now_ms,
        at_once=order.at_once,
        despite_freeze=order.despite_freeze,
        refused=refused,
    )
    return msgspec.structs.replace(state, orders=(*state.orders, taken))


def _with_verdict(
    state: RolloutState, check: str, outcome: Literal["pass", "fail"], reason: str, now_ms: int
) -> RolloutState:
    """Noted among the verdicts, too; the bet on quality goes on from where it was."""
    before = {"log_wealth": state.figures["log_wealth"]} if "log_wealth" in state.figures else {}
    verdict = Verdict(check=check, outcome=outcome, reason=reason, figures=before, time_ms=now_ms)
    return msgspec.structs.replace(state, verdicts=(*state.verdicts, verdict))
