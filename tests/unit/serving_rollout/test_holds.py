"""What holds a rollout: said once, counted out of the step's time, lifted by itself when its cause is gone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.rollout.decide import decide
from serving.rollout.freeze import frozen
from serving.rollout.moves import MOVES, enter, step_s
from tests.unit.serving_rollout.test_decide import CANARY, NOW, PLAN, figures, in_phase, seen
from tidemill.errors import SettingsError
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
    assert late is not None and late.state.phase == "rolled_back"


def test_a_freeze_window_holds_a_step_that_is_done_until_it_ends() -> None:
    done = figures(0.9, 0.9, 40)
    held = decide(CANARY, PLAN, seen(10, figures=done, freeze="weekend"))
    assert held is not None and (held.state.hold, held.state.verdicts) == ("frozen", ())
    assert held.state.reason == "canary-25 is done; weekend"
    assert decide(held.state, PLAN, seen(11, figures=done, freeze="weekend")) is None
    onward = decide(held.state, PLAN, seen(99_999, figures=done))
    assert onward is not None and (onward.state.weight, onward.state.hold) == (50, "")
    assert len(onward.state.verdicts) == 1


def test_an_inconclusive_step_that_is_held_says_so_and_goes_on_with_enough_scores() -> None:
    plan = PLAN.model_copy(update={"on_inconclusive": "hold"})
    held = decide(CANARY, plan, seen(181, figures=figures(1, 1, 12)))
    assert held is not None and held.state.hold == "inconclusive" and "12 of 40 scores" in held.state.reason
    assert decide(held.state, plan, seen(182, figures=figures(1, 1, 12))) is None
    onward = decide(held.state, plan, seen(999, figures=figures(0.9, 0.9, 40)))
    assert onward is not None and onward.state.weight == 50


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
