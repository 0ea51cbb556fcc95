"""What rollouts see of their scores and answers: looked at in the store, and looked at again once that is old enough.

A look at many scores takes long, and other rollouts wait meanwhile; so it is good enough for some times as long as it
took, but never for long: harm is to be carried out within two seconds, or within twice a look where looks are slow.
"""

from __future__ import annotations

from serving.rollout.figures import step_figures
from serving.rollout.observed import StepFigures
from serving.rollout.watched import watch_figures
from tidemill.clock import Clock
from tidemill.errors import Retry
from tidemill.events import RolloutState
from tidemill.io.clickhouse import Store, StoreError
from tidemill.settings import PipelineSettings

REST = 10
"""Times as long as it took to look at a step's figures, they are good enough."""
LONGEST_REST_S = 0.5
"""But no longer than this, or than the look took."""
PATIENCE_S = 3.0
"""For how long what was last seen of a step counts where the store does not answer: one failed look says little."""


def rest_s(took_s: float) -> float:
    """For how long figures are good enough whose look took so many seconds."""
    return min(REST * took_s, max(LONGEST_REST_S, took_s))


class Sight:
    """Looks of all rollouts, one after the other. A store that is away is said in ``troubles``."""

    def __init__(self, store: Store, clock: Clock, troubles: dict[str, str]) -> None:
        self._store, self._clock, self._troubles = store, clock, troubles
        self._looked: dict[str, tuple[int, float, StepFigures]] = {}
        """By rollout: the step looked at (its start), until when that is good enough, and what was seen."""

    def figures(self, state: RolloutState, pipeline: PipelineSettings) -> StepFigures | None:
        """What is seen of a step, or of the watch; None where nothing is compared, or the store is away. Blocks for as
        long as the store takes."""
        watched = state.phase == "promoting" or state.watch == "open"
        if state.phase not in ("shadow", "canary") and not (watched and pipeline.rollout.watch_s):
            self._looked.pop(state.rollout_id, None)
            return None
        begun_s = self._clock.monotonic_s()
        step_ms, until_s, last = self._looked.get(state.rollout_id, (0, 0.0, StepFigures()))
        same_step = step_ms == state.step_started_ms
        if same_step and begun_s < until_s:
            return last
        try:
            metric = pipeline.quality.metric
            found = (
                watch_figures(self._store, state, metric, pipeline.rollout)
                if watched
                else step_figures(self._store, state, metric)
            )
        except (Retry, StoreError) as error:
            self._troubles["store"] = str(error)
            return last if same_step and self._clock.monotonic_s() < until_s + PATIENCE_S else None
        self._troubles.pop("store", None)
        now_s = self._clock.monotonic_s()
        self._looked[state.rollout_id] = (state.step_started_ms, now_s + rest_s(now_s - begun_s), found)
        return found
