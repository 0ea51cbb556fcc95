"""How a candidate takes over from its champion, and what it may cost."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from tidemill.settings.strict import Strict, wrong
from tidemill.settings.weekly import WeeklySettings

MOST_SCORES = 20_000
"""A step is judged on its first so many scores."""


class MarginSettings(Strict):
    """What a better version may cost: a canary that is proven worse than its champion by more goes back at once."""

    failures: float = Field(default=0.05, ge=0, le=1)
    """Share of answers that fail. 1: never judged."""
    thumbs: float = Field(default=0.05, ge=0, le=1)
    """Mean of the users' thumbs. 1: never judged."""
    ttft: float = Field(default=0.2, ge=0)
    """Time to the first token, typical and p95: 0.2 is a fifth longer. A large number: never judged."""
    duration: float = Field(default=0.2, ge=0)
    """Time of the whole answer, typical and p95."""
    cost: float = Field(default=0.2, ge=0)
    """Mean cost of an answer."""


class RolloutSettings(Strict):
    """How a candidate takes over, step by step."""

    steps: tuple[int, ...] = (1, 5, 25, 50, 100)
    """Candidate's share of traffic at each step, percent."""
    shadow_percent: int = Field(default=50, ge=0, le=100)
    """Share of calls the candidate answers unseen before it gets traffic; 0 leaves the shadow out."""
    min_scored: int = Field(default=50, ge=1)
    """Scored answers of the candidate after which a step goes on if no harm is proven, in the shadow too; sooner where
    it is shown that there is none (see ``margin``)."""
    require: Literal["no_harm", "not_worse"] = "no_harm"
    """What a step goes on by. `no_harm`: nothing is proven against it by ``min_scored`` scores. `not_worse`: it is
    shown that quality is not worse by ``margin``, however many scores that takes."""
    max_step_s: float = Field(default=3600, gt=0)
    """A step that has shown nothing for longer than this is held (see ``hold_s``), and then ends by
    ``on_inconclusive``. Time in which it is paused, frozen or cannot be seen (the store is away) does not count."""
    hold_s: float = Field(default=1800, ge=0)
    """How long such a step is held `inconclusive`, so that a person may order something; enough scores decide
    meanwhile, too. A pause, or a store that is away, begins it anew. 0: no hold."""
    on_inconclusive: Literal["hold", "rollback", "advance"] = "rollback"
    """What a step that took too long leads to once it was held; `hold`: it stays held. Not `advance` where
    `require` is `not_worse`."""
    margin: float = Field(default=0.05, gt=0, le=1)
    """A step goes on early once it is shown that quality is not worse by this much. (Proven worse at all, it goes
    back.)"""
    margins: MarginSettings = MarginSettings()
    freeze: tuple[WeeklySettings, ...] = ()
    """Weekly stretches of time in which no step forward is taken, the first one included. Harm takes a candidate back
    all the same, and so may a person."""
    watch_s: float = Field(default=1800, ge=0)
    """How long a new champion is watched, seconds, the one before kept loaded beside it: proven worse than that one was
    in the time of the rollout, or failing more often, it goes back. Another rollout ends the watch. 0: no watch."""
    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """Chance that a candidate as good as its champion goes back as harmful, over all metrics, steps and looks;
    as much again in the watch."""

    @model_validator(mode="before")
    @classmethod
    def _check_gone(cls, data: Any) -> Any:
        if isinstance(data, dict) and "max_error_rate" in data:
            raise wrong(
                ("max_error_rate",),
                "there is no such setting any more: failures are compared with the champion's; take it out, and set "
                "margins.failures if the candidate may fail more often",
            )
        return data

    @model_validator(mode="after")
    def _check(self) -> RolloutSettings:
        if not self.steps or self.steps[-1] != 100 or any(s < 1 or s > 100 for s in self.steps):
            raise ValueError(f"rollout steps {list(self.steps)}: give percentages from 1 to 100, ending with 100")
        names = [each.name for each in self.freeze]
        if len(set(names)) != len(names):
            raise wrong(("freeze",), f"names must be unique, got {', '.join(names)}")
        if sorted(set(self.steps)) != list(self.steps):
            raise ValueError(f"rollout steps {list(self.steps)}: each step must be larger than the one before")
        if self.require == "not_worse":
            self._check_not_worse()
        return self

    def _check_not_worse(self) -> None:
        """Raises where the plan could not show it, or would go on without."""
        if self.steps == (100,) and not self.shadow_percent:
            raise wrong(("require",), "'not_worse' compares nothing with steps [100] and shadow_percent 0; add a step")
        if self.on_inconclusive == "advance":
            raise wrong(
                ("on_inconclusive",), "'advance' goes on without what require 'not_worse' asks for; take one out"
            )
        hardest = max(self.steps[:-1], key=lambda step: _needed(step, self.margin), default=100)
        needed = _needed(hardest, self.margin)
        if needed > MOST_SCORES:
            raise wrong(
                ("require",),
                f"'not_worse' takes some {needed:,.0f} scores of both arms at a step of {hardest} % to show less "
                f"than {self.margin:g} worse, and a step is judged on its first {MOST_SCORES:,}; take steps nearer to "
                "50 %, or widen rollout.margin",
            )


def _needed(step: int, margin: float) -> float:
    """Scores of both arms by which an equal candidate is shown to be within the margin in about half of the cases,
    where 85 % are right (simulated: docs/decisions/0011)."""
    share = step / 100
    return 1.5 / (share * (1 - share) * margin**2) if share < 1 else 0.0
