"""What retrainings took of GPUs, and what one is expected to take. Pure, from the states of jobs alone.

A job that is open holds what it is expected to take, so that two that open one after the other cannot spend the same
hours; when it has ended, what it took counts, for as long as the period lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidemill.events import JobState
from tidemill.events.lifecycle import OPEN_JOBS, SPENDING, gpu_seconds
from tidemill.settings import GpuSettings, PipelineSettings

LAST_JOBS = 5


@dataclass(frozen=True, kw_only=True)
class Funds:
    """Where the GPU budgets stand."""

    expected_s: float = 0.0
    """GPU seconds that the next job is expected to take."""
    spent_s: float = 0.0
    """GPU seconds of the pipeline's jobs in the period, those under way with what they are expected to take."""
    spent_all_s: float = 0.0
    """The same of all pipelines."""
    usd_per_hour: float | None = None
    budget_s: float | None = None
    """What the pipeline's jobs may take in the period; None: no limit."""
    budget_all_s: float | None = None
    """The same for all pipelines together."""

    @property
    def cost_usd(self) -> float | None:
        """What the next job is expected to cost; None: no price is known."""
        return None if self.usd_per_hour is None else self.expected_s / 3600 * self.usd_per_hour


def most_gpu_s(pipeline: PipelineSettings) -> float:
    """GPU seconds that one job can take at most: every try at training and at scoring to its end by time."""
    policy = pipeline.retrain
    return len(SPENDING) * policy.timeout_s * max(1, policy.launcher.gpus) * policy.launcher.max_tries


def funds_of(
    jobs: Iterable[JobState], name: str, pipelines: Mapping[str, PipelineSettings], gpu: GpuSettings, now_ms: int
) -> Funds:
    """Where the budgets of the pipeline ``name`` of ``pipelines`` stand."""
    since_ms = now_ms - round(gpu.period_days * 86_400_000)
    known = sorted(jobs, key=lambda job: (job.time_ms, job.job_id))
    counted = [job for job in known if job.phase in OPEN_JOBS or job.time_ms > since_ms]
    took = [(job, _taken_s(job, pipelines, now_ms)) for job in counted]
    expected = {each: _expected_s(took, each, pipelines) for each in {job.pipeline for job in counted} | {name}}
    spent = dict.fromkeys(expected, 0.0)
    for job, seconds in took:
        spent[job.pipeline] += max(seconds, expected[job.pipeline]) if job.phase in OPEN_JOBS else seconds
    return Funds(
        expected_s=expected[name],
        spent_s=spent[name],
        spent_all_s=sum(spent.values()),
        usd_per_hour=gpu.usd_per_hour,
        budget_s=_seconds(pipelines[name].trigger.gpu_budget_hours),
        budget_all_s=_seconds(gpu.budget_hours),
    )


def _taken_s(job: JobState, pipelines: Mapping[str, PipelineSettings], now_ms: int) -> float:
    """What was measured; what only the wall clock says, which may have been set meanwhile, up to the most there is."""
    seconds = gpu_seconds(job, now_ms)
    measured = (job.figures.get("gpu_seconds") or 0.0) > 0
    return seconds if measured or job.pipeline not in pipelines else min(seconds, most_gpu_s(pipelines[job.pipeline]))


def _expected_s(took: list[tuple[JobState, float]], name: str, pipelines: Mapping[str, PipelineSettings]) -> float:
    """The longest of its last jobs in the period that had the GPU; without any, as it is set. Never more than a job
    can take by the settings of now.
    """
    last = [seconds for job, seconds in took if job.pipeline == name and job.phase not in OPEN_JOBS and seconds > 0]
    longest = max(last[-LAST_JOBS:], default=0.0)
    if name not in pipelines:
        return longest
    pipeline = pipelines[name]
    set_s, one_try_s = (
        pipeline.trigger.expected_gpu_s,
        pipeline.retrain.timeout_s * max(1, pipeline.retrain.launcher.gpus),
    )
    return min(longest or (one_try_s if set_s is None else set_s), most_gpu_s(pipeline))


def _seconds(hours: float | None) -> float | None:
    return None if hours is None else hours * 3600
