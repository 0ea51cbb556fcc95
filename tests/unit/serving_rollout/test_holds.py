"""What holds a rollout: said once, counted out of the step's time, lifted by itself when its cause is gone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout.decide import decide
from serving.rollout.freeze import frozen
from serving.rollout.moves import HOLDS, MOVES, Next, enter, hold, release, step_s
from serving.rollout.observed import Observed
from tests.unit.serving_rollout.test_decide import CANARY, NOW, PLAN, figures, in_phase, seen
from tidemill.errors import SettingsError
from tidemill.events import RolloutState
from tidemill.events.lifecycle import Hold
from tidemill.settings import RolloutSettings
from tidemill.settings.load import checked


def test_a_store_that_is_away_is_said_once_and_its_time_does_not_count() -> None:
    held = decide(CANARY, PLAN, seen(100))
    assert held is not None and (held.state.hold, held.reroute) == ("blind", False)
    assert "does not answer" in held.state.reason
    assert decide(held.state, PLAN, seen(900)) is None
    back = decide(held.state, PLAN, seen(900, figures=figures(1, 1, 12)))
    assert back is not None and (back.state.phase, back.state.hold, back.state.held_ms) == ("canary", "", 800_000)
    assert back.state.figures["candidate_n"] == 12
    assert step_s(back.state, NOW + 900_000) == 100
    assert decide(back.state, PLAN, seen(970, figures=figures(1, 1, 12))) is None, "170 s of 180"
    late = decide(back.state, PLAN, seen(982, figures=figures(1, 1, 12)))
    assert late is not None and (late.state.hold, late.state.held_ms) == ("inconclusive", 800_000)


def test_a_freeze_window_holds_a_step_that_is_done_until_it_ends() -> None:
    done = figures(0.9, 0.9, 40)
    held = decide(CANARY, PLAN, seen(10, figures=done, freeze="weekend"))
    assert held is not None and (held.state.hold, held.state.verdicts) == ("frozen", ())
    assert held.state.reason == "canary-25 is done; weekend"
    assert decide(held.state, PLAN, seen(11, figures=done, freeze="weekend")) is None
    onward = decide(held.state, PLAN, seen(99_999, figures=done))
    assert onward is not None and (onward.state.weight, onward.state.hold) == (50, "")
    assert len(onward.state.verdicts) == 1


FEW, ENOUGH = figures(1, 1, 12), figures(0.9, 0.9, 40)


def held_inconclusive(plan: RolloutSettings = PLAN) -> RolloutState:
    held = decide(CANARY, plan, seen(181, figures=FEW))
    assert held is not None and held.state.hold == "inconclusive"
    return held.state


def test_an_inconclusive_step_may_be_held_for_ever_and_goes_on_with_enough_scores() -> None:
    plan = PLAN.model_copy(update={"on_inconclusive": "hold"})
    held = held_inconclusive(plan)
    assert held.reason == "held: 12 of 40 scores after 180 s in canary-25; until scores or an order decide"
    assert decide(held, plan, seen(999_999, figures=FEW)) is None
    for at, still in ((plan, 999_999), (PLAN, 1980)):
        onward = decide(held, at, seen(still, figures=ENOUGH))
        assert onward is not None and (onward.state.weight, onward.state.verdicts[-1].outcome) == (50, "pass")


def test_harm_ends_an_inconclusive_hold() -> None:
    back = decide(held_inconclusive(), PLAN, seen(200, figures=figures(0.9, 0.1, 35)))
    assert back is not None and (back.state.phase, back.state.verdicts[-1].outcome) == ("rolled_back", "fail")


def test_newer_figures_do_not_lengthen_an_inconclusive_hold() -> None:
    held = held_inconclusive()
    again = decide(held, PLAN, seen(1000, figures=figures(1, 1, 13)))
    assert again is not None and (again.state.hold, again.state.hold_since_ms) == ("inconclusive", NOW + 181_000)
    ended = decide(again.state, PLAN, seen(1981, figures=figures(1, 1, 13)))
    assert ended is not None and ended.state.phase == "rolled_back"
    assert ended.state.reason == "13 of 40 scores after 180 s in canary-25, then held for 1800 s"


def test_a_pause_or_a_store_that_is_away_begins_an_inconclusive_hold_anew() -> None:
    held = held_inconclusive()
    blind = decide(held, PLAN, seen(1900))
    assert blind is not None and (blind.state.hold, blind.state.held_ms) == ("blind", 1_719_000)
    back = decide(blind.state, PLAN, seen(2500, figures=FEW))
    assert back is not None and (back.state.hold, back.state.hold_since_ms) == ("inconclusive", NOW + 2_500_000)
    assert (back.state.held_ms, step_s(back.state, NOW + 3_000_000)) == (2_319_000, 181)
    paused = hold(back.state, NOW + 2_600_000, "paused", "paused by anna")
    assert paused is not None
    assert decide(paused.state, PLAN, seen(99_999, figures=FEW)) is None, "who paused it may take their time"
    resumed = release(paused.state, PLAN, NOW + 99_999_000)
    anew = decide(resumed, PLAN, seen(100_000, figures=FEW))
    assert anew is not None and (anew.state.hold, anew.state.hold_since_ms) == ("inconclusive", NOW + 100_000_000)
    assert decide(anew.state, PLAN, seen(101_799, figures=FEW)) is None
    ended = decide(anew.state, PLAN, seen(101_800, figures=FEW))
    assert ended is not None and ended.state.phase == "rolled_back"


def test_a_step_that_is_to_go_on_unproven_waits_for_the_end_of_a_freeze_window_only() -> None:
    plan = PLAN.model_copy(update={"on_inconclusive": "advance"})
    frozen_now = decide(held_inconclusive(plan), plan, seen(1981, figures=FEW, freeze="weekend"))
    assert frozen_now is not None and frozen_now.state.hold == "frozen"
    assert decide(frozen_now.state, plan, seen(1982, figures=FEW, freeze="weekend")) is None
    onward = decide(frozen_now.state, plan, seen(9000, figures=FEW))
    assert onward is not None and (onward.state.weight, onward.state.verdicts[-1].outcome) == (50, "inconclusive")


@given(
    st.lists(
        st.tuples(st.sampled_from(["few", "away", "pause", "resume"]), st.integers(1, 400)), min_size=1, max_size=30
    )
)
def test_whatever_interrupts_it_a_step_ends_only_after_a_whole_hold_and_its_times_add_up(
    sights: list[tuple[str, int]],
) -> None:
    """Its own time, the time in holds before and this hold are all the time since it began; it ends by itself only
    when one hold as inconclusive has lasted ``hold_s``."""
    plan = PLAN.model_copy(update={"hold_s": 300})
    state, now_ms = CANARY, NOW
    for what, after_s in sights:
        now_ms += after_s * 1000
        moved: Next | None = None
        if what == "pause":
            moved = hold(state, now_ms, "paused", "by anna")
        elif what == "resume":
            moved = Next(release(state, plan, now_ms), False) if state.hold == "paused" else None
        else:
            moved = decide(state, plan, Observed(now_ms=now_ms, figures=FEW if what == "few" else None))
        before, state = state, moved.state if moved is not None else state
        if state.phase == "rolled_back":
            assert (before.hold, what) == ("inconclusive", "few") and before.hold_since_ms is not None
            assert now_ms - before.hold_since_ms >= 300_000
            return
        assert bool(state.hold) == (state.hold_since_ms is not None)
        this_ms = now_ms - state.hold_since_ms if state.hold_since_ms is not None else 0
        assert state.held_ms >= 0 and this_ms >= 0
        assert step_s(state, now_ms) * 1000 + state.held_ms + this_ms == now_ms - NOW
        if state.hold == "inconclusive":
            assert step_s(state, now_ms) > plan.max_step_s


@pytest.mark.parametrize(
    ("at", "holds"),
    [("2026-11-27T17:59", False), ("2026-11-27T18:01", True), ("2026-11-29T23:00", True), ("2026-11-30T06:01", False)],
)
def test_freeze_windows_come_back_each_week_by_the_clocks_of_their_zone(at: str, holds: bool) -> None:
    plan = RolloutSettings.model_validate(
        {"freeze": [{"name": "weekend", "days": ["fri"], "at": "19:00", "lasts_s": 216_000, "zone": "Europe/Berlin"}]}
    )
    now_ms = round(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp() * 1000)
    said = frozen(plan, now_ms)
    assert bool(said) is holds
    if holds:
        assert "'weekend'" in said and "until 2026-11-30 06:00 UTC" in said


def test_two_freeze_windows_of_one_name_stop_the_start() -> None:
    window = {"name": "night", "at": "22:00", "lasts_s": 3600}
    with pytest.raises(SettingsError, match="names must be unique, got night, night"):
        checked(RolloutSettings, {"freeze": [window, window]}, Path("a.yaml"), {})


def test_no_move_leaves_the_table() -> None:
    for phase, to in MOVES.items():
        for other in MOVES:
            if other in to:
                assert enter(in_phase(phase), NOW, other, "").phase == other
            else:
                with pytest.raises(ValueError, match=f"from {phase} to {other}"):
                    enter(in_phase(phase), NOW, other, "")


def test_no_phase_is_held_but_as_the_table_says() -> None:
    kinds = set(get_args(Hold)) - {""}
    assert set().union(*HOLDS.values()) == kinds
    for phase in MOVES:
        for kind in kinds:
            if kind in HOLDS.get(phase, ()):
                held = hold(in_phase(phase), NOW, kind, "why")
                assert held is not None and held.state.hold == kind
            else:
                with pytest.raises(ValueError, match=f"in {phase} is not held as {kind}"):
                    hold(in_phase(phase), NOW, kind, "why")
