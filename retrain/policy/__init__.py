"""When a pipeline is retrained: one pure function from a trigger, the settings and what is known to a decision.

``trigger``: what asks for a retraining. ``decide``: the decision. ``worth``: expected gain against expected cost.
``funds``: what was spent of the GPU budget. ``collect``: from an open job to the start of its training.
"""

from __future__ import annotations

from retrain.policy.collect import Collected, while_collecting
from retrain.policy.decide import ESTIMATE_MS, Decision, counts, decide, refused
from retrain.policy.funds import Funds, funds_of
from retrain.policy.known import Known
from retrain.policy.trigger import RETRAINING_KINDS, Trigger, by_age, by_alarm, by_order, by_schedule, job_id_of

__all__ = [
    "ESTIMATE_MS",
    "RETRAINING_KINDS",
    "Collected",
    "Decision",
    "Funds",
    "Known",
    "Trigger",
    "by_age",
    "by_alarm",
    "by_order",
    "by_schedule",
    "counts",
    "decide",
    "funds_of",
    "job_id_of",
    "refused",
    "while_collecting",
]
