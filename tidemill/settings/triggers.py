"""What begins a retraining beside alarms, what one is worth, and what all may cost."""

from __future__ import annotations

from pydantic import Field, field_validator

from tidemill import schedule
from tidemill.settings.strict import Strict


class TriggerSettings(Strict):
    """What begins a retraining beside alarms (none where `retrain.enabled` is false), and what it must be worth."""

    schedule: str = ""
    """When it is retrained without an alarm, where there are `retrain.min_fresh_labels` since the champion's data: five
    cron fields (UTC), or `every 12h` (`m`, `h`, `d`, `w`; counted from 1970). Empty: never."""
    schedule_slack_s: float = Field(default=3600, gt=0)
    """How long after its time an occurrence may still begin, seconds; later it is passed over."""
    max_data_age_days: float | None = Field(default=None, gt=0)
    """The champion's training data may be so old; after that it is retrained as soon as there are
    `retrain.min_fresh_labels` since. None: no limit. Of a champion that no job made the age is unknown, and is none."""
    usd_per_point: float | None = Field(default=None, gt=0)
    """What a right answer is worth in place of a wrong one (a point of score), USD. An alarm then begins a retraining
    only where the expected gain pays for the GPU (`gpu.usd_per_hour`). None: it is not weighed."""
    gain_horizon_days: float = Field(default=7, gt=0)
    """How long a retraining is expected to help: its gain is that of so many days with the last day's traffic."""
    expected_recovery: float = Field(default=0.8, gt=0, le=1)
    """The part of a loss of quality that a retraining is expected to bring back."""
    min_gain_ratio: float = Field(default=1, gt=0)
    """The least expected gain for a dollar of GPU."""
    expected_gpu_s: float | None = Field(default=None, gt=0)
    """GPU seconds that a job is expected to take until there are jobs to go by (the longest of the last five in
    `gpu.period_days`). None: `retrain.timeout_s`, for each of its GPUs."""
    gpu_budget_hours: float | None = Field(default=None, ge=0)
    """GPU hours that this pipeline's jobs may take in `gpu.period_days`; a job that is expected to take more than what
    is left does not begin. None: no limit but that of all pipelines together."""

    @field_validator("schedule")
    @classmethod
    def _check_schedule(cls, said: str) -> str:
        if said:
            schedule.read(said)
        return said


class GpuSettings(Strict):
    """What retrainings may take of GPUs, and what that costs."""

    usd_per_hour: float | None = Field(default=None, ge=0)
    """Price of an hour of GPU (or of the machine that trains), USD. None: unknown, and nothing is weighed."""
    budget_hours: float | None = Field(default=None, ge=0)
    """GPU hours that the jobs of all pipelines may take in ``period_days``. None: no limit."""
    period_days: float = Field(default=30, gt=0)
    """The budgets' period: the last so many days."""
