"""How often the store is looked at: seldom where that takes long, but never so seldom that harm is seen late."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.rollout import sight
from serving.rollout.observed import ArmFigures, StepFigures
from serving.rollout.sight import LONGEST_REST_S, REST, Sight, rest_s
from tests.unit.serving_rollout.test_decide import CANARY, PIPELINE, SHADOW, in_phase
from tidemill.clock import ManualClock
from tidemill.errors import Retry


@given(st.floats(0, 1000))
def test_a_rest_takes_half_of_the_time_at_least_and_no_longer_than_harm_can_wait(took_s: float) -> None:
    assert rest_s(took_s) >= took_s
    assert rest_s(took_s) <= max(LONGEST_REST_S, took_s)
    assert rest_s(took_s) <= REST * took_s


class Looked:
    """A store whose look takes ``took_ms``; counts them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.took_ms, self.away, self.looks = ManualClock(1_000), 0, False, 0
        monkeypatch.setattr(sight, "step_figures", self._look)
        self.troubles: dict[str, str] = {}
        self.sight = Sight(cast(Any, None), self.clock, self.troubles)

    def _look(self, *_: object) -> StepFigures:
        self.clock.advance(self.took_ms)
        if self.away:
            raise Retry("the store is away")
        self.looks += 1
        return StepFigures(ArmFigures(scored=self.looks))


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> Looked:
    return Looked(monkeypatch)


@pytest.mark.parametrize("took_ms", [20, 200, 1_000])
def test_harm_waits_for_one_rest_and_one_look_at_most(looked: Looked, took_ms: int) -> None:
    looked.took_ms = took_ms
    looked.sight.figures(CANARY, PIPELINE)
    came_ms, rounds = looked.clock.now_ms(), 0
    while looked.looks == 1:
        seen = looked.sight.figures(CANARY, PIPELINE)
        assert seen is not None and seen.champion.scored == looked.looks
        looked.clock.advance(10)
        rounds += 1
    waited_ms = looked.clock.now_ms() - came_ms
    rest_ms = rest_s(took_ms / 1000) * 1000
    assert rest_ms <= waited_ms <= rest_ms + took_ms + 20
    assert rounds > 1


def test_a_new_step_is_looked_at_at_once_and_a_phase_without_scores_never(looked: Looked) -> None:
    looked.took_ms = 1_000
    looked.sight.figures(SHADOW, PIPELINE)
    later = in_phase("canary", step_started_ms=looked.clock.now_ms())
    looked.sight.figures(later, PIPELINE)
    assert looked.looks == 2
    assert looked.sight.figures(in_phase("pending"), PIPELINE) is None and looked.looks == 2


def test_one_failed_look_leaves_what_was_seen_and_a_store_that_stays_away_does_not(looked: Looked) -> None:
    seen = looked.sight.figures(CANARY, PIPELINE)
    looked.away = True
    looked.clock.advance(1_000)
    assert looked.sight.figures(CANARY, PIPELINE) == seen and looked.troubles == {"store": "the store is away"}
    assert looked.sight.figures(in_phase("canary", step_started_ms=looked.clock.now_ms()), PIPELINE) is None
    looked.took_ms = 30_000
    assert looked.sight.figures(CANARY, PIPELINE) is None, "a store that hangs does not answer either"


def test_a_store_that_is_away_is_said_until_it_answers(looked: Looked) -> None:
    looked.away = True
    assert looked.sight.figures(CANARY, PIPELINE) is None
    assert looked.troubles == {"store": "the store is away"}
    looked.away = False
    assert looked.sight.figures(CANARY, PIPELINE) is not None
    assert looked.troubles == {}
