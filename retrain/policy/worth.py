"""Expected gain against expected cost, in money. Pure.

gain = loss of score × part of it that is expected back × answers a day × days that it helps × what a point is worth;
cost = GPU hours of a job × price of one.
"""

from __future__ import annotations

from typing import NamedTuple

from retrain.policy.known import Known
from retrain.policy.trigger import Trigger
from tidemill.settings import TriggerSettings


class Weighed(NamedTuple):
    """Both sides in USD; None: something that it takes is not known."""

    gain_usd: float | None
    cost_usd: float | None

    def pays(self, settings: TriggerSettings) -> bool | None:
        """Whether the gain is worth the cost; None: nobody knows."""
        if self.gain_usd is None or self.cost_usd is None:
            return None
        return self.gain_usd >= settings.min_gain_ratio * self.cost_usd


def loss_of(trigger: Trigger, known: Known) -> float | None:
    """The loss of quality, in score: by labels since the change, else as the alarm says, else the least by estimate."""
    told = (known.estimated_loss, trigger.loss, known.sure_loss)
    return next((loss for loss in told if loss is not None), None)


def weigh(trigger: Trigger, settings: TriggerSettings, known: Known) -> Weighed:
    """What a retraining is expected to bring and to cost. No gain where ``trigger.usd_per_point`` is not set."""
    loss, gain = loss_of(trigger, known), None
    if settings.usd_per_point is not None and loss is not None and known.calls_per_day is not None:
        points = max(0.0, loss) * settings.expected_recovery * known.calls_per_day * settings.gain_horizon_days
        gain = points * settings.usd_per_point
    return Weighed(gain, known.funds.cost_usd)
