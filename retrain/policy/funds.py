"""What retrainings took of GPUs, and what one is expected to take. Pure, from the states of jobs alone.

A job that is open holds what it is expected to take, so that two that open one after the other cannot spend the same
hours; when it has ended, what it took counts, for as long as the period lasts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tidemill.events import JobState
from tidemill.events.lifecycle import OPEN_JOBS
from tidemill.settings import GpuSettings, PipelineSettings

SPENDING = ("train", "gate")
"""Stations of the wheel at which a job has the GPU."""
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


def gpu_seconds(job: JobState, now_ms: int) -> float:
    """GPU seconds a job has taken so far: what it held of GPUs, else (a machine without) the time of its SPENDING."""
    if measured := job.figures.get("gpu_seconds"):
        return measured
    took = sum((s.ended_ms or now_ms) - s.started_ms for s in job.stations if s.station in SPENDING)
    return max(0.0, took / 1000)


def funds_of(
    jobs: Iterable[JobState], name: str, pipelines: Mapping[str, PipelineSettings], gpu: GpuSettings, now_ms: int
) -> Funds:
    """Where the budgets of the pipeline ``name`` of ``pipelines`` stand."""
    since_ms = now_ms - round(gpu.period_days * 86_400_000)
    known = sorted(jobs, key=lambda job: (job.time_ms, job.job_id))
    counted = [job for job in known if job.phase in OPEN_JOBS or job.time_ms > since_ms]
    expected = {each: _expected_s(known, each, pipelines, now_ms) for each in {job.pipeline for job in known} | {name}}
    spent = dict.fromkeys(expected, 0.0)
    for job in counted:
        took = gpu_seconds(job, now_ms)
        spent[job.pipeline] += max(took, expected[job.pipeline]) if job.phase in OPEN_JOBS else took
    return Funds(
        expected_s=expected[name],
        spent_s=spent[name],
        spent_all_s=sum(spent.values()),
        usd_per_hour=gpu.usd_per_hour,
        budget_s=_seconds(pipelines[name].trigger.gpu_budget_hours),
        budget_all_s=_seconds(gpu.budget_hours),
    )


def _expected_s(jobs: list[JobState], name: str, pipelines: Mapping[str, PipelineSettings], now_ms: int) -> float:
    """The longest of its last jobs that had the GPU; before there were any, as it is set."""
    ended = (job for job in jobs if job.pipeline == name and job.phase not in OPEN_JOBS)
    took = [seconds for job in ended if (seconds := gpu_seconds(job, now_ms)) > 0]
    if took or name not in pipelines:
        return max(took[-LAST_JOBS:], default=0.0)
    pipeline = pipelines[name]
    most = pipeline.retrain.timeout_s * max(1, pipeline.retrain.launcher.gpus)
    return most if pipeline.trigger.expected_gpu_s is None else pipeline.trigger.expected_gpu_s


def _seconds(hours: float | None) -> float | None:
    return None if hours is None else hours * 3600
