"""What a step goes on by: that no harm is proven, or that it is shown to be less than the margin worse."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.rollout.betting import randomised
from serving.rollout.decide import decide
from serving.rollout.observed import ArmFigures, StepFigures
from tests.unit.serving_rollout.test_decide import CANARY, PLAN, figures, seen
from tidemill.errors import SettingsError
from tidemill.settings import RolloutSettings
from tidemill.settings.load import checked


def test_a_step_that_has_no_harm_says_whether_it_is_shown_to_be_within_the_margin() -> None:
    found = decide(CANARY, PLAN, seen(figures=figures(0.9, 0.9, 40)))
    shown = decide(CANARY, PLAN, seen(figures=figures(0.1, 0.9, 40)))
    assert found is not None and shown is not None
    said = found.state.verdicts[-1]
    assert (said.outcome, found.state.weight) == ("pass", 50)
    assert said.reason.startswith("no harm found in 40 scores; not shown to be less than 0.05 worse (by -0.")
    assert "shown to be less than 0.05 worse, with" in shown.state.verdicts[-1].reason


def test_where_not_worse_is_required_a_step_goes_on_by_nothing_else() -> None:
    plan = PLAN.model_copy(update={"require": "not_worse", "hold_s": 0})
    equal, better = figures(0.9, 0.9, 40), figures(0.1, 0.9, 40)
    stays = decide(CANARY, plan, seen(100, figures=equal))
    assert stays is not None and (stays.state.phase, stays.state.step) == ("canary", 0)
    late = decide(CANARY, plan, seen(181, figures=equal))
    assert late is not None and late.state.phase == "rolled_back"
    assert late.state.verdicts[-1].outcome == "inconclusive"
    assert "not shown to be less than 0.05 worse" in late.state.reason and "with 40 scores" in late.state.reason
    onward = decide(CANARY, plan, seen(figures=better))
    assert onward is not None and onward.state.weight == 50
    many = decide(CANARY, plan, seen(figures=figures(0.9, 0.9, 4000)))
    assert many is not None and many.state.weight == 50, "equal arms are shown with enough scores"


@pytest.mark.parametrize("seed", range(20))
def test_worse_by_the_margin_is_not_called_not_worse(seed: int) -> None:
    """At most alpha, over the steps; here never in 20 rollouts of 2,000 scores an arm."""
    plan = PLAN.model_copy(update={"require": "not_worse"})
    rng = np.random.default_rng(seed)
    mine = rng.random(4000) < 0.25
    scores = (rng.random(4000) < np.where(mine, 0.80, 0.86)).astype(float)
    payoffs = randomised(mine, np.full(4000, 0.25), scores)
    worse = StepFigures(ArmFigures(3000), ArmFigures(1000), quality=payoffs)
    found = decide(CANARY, plan, seen(figures=worse))
    assert found is None or found.state.weight in (0, 25)


def test_a_first_step_too_small_to_show_that_it_is_not_worse_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="some 60,606 scores of both arms at a step of 1 %"):
        checked(RolloutSettings, {"require": "not_worse"}, Path("a.yaml"), {})
    for good in ({"steps": [25, 50, 100]}, {"steps": [5, 100]}, {"margin": 0.1}, {"steps": [100]}):
        checked(RolloutSettings, {"require": "not_worse"} | good, Path("a.yaml"), {})


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ({"steps": [25, 99, 100]}, "at a step of 99 %"),
        ({"steps": [100], "shadow_percent": 0}, "compares nothing"),
        ({"steps": [25, 100], "on_inconclusive": "advance"}, "goes on without"),
    ],
)
def test_a_plan_that_could_not_show_it_or_goes_on_without_is_refused(plan: dict[str, object], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        checked(RolloutSettings, {"require": "not_worse"} | plan, Path("a.yaml"), {})
