"""Several policies over the same past, side by side with what really happened."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from retrain.replay import report
from retrain.replay.falls import Fall, Said, measured, told
from retrain.replay.history import History
from retrain.replay.policies import Policy
from retrain.replay.report import Result
from retrain.replay.run import Detects, run
from retrain.replay.turns import Turn
from tidemill.settings import GpuSettings, PipelineSettings, QualitySettings

Detector = Callable[[str, QualitySettings], Detects]
Progress = Callable[[str, int], None]
"""Policy, scores and estimates done."""


class Compared(NamedTuple):
    """One pipeline's falls, and what each policy did about them; the recorded one first."""

    history: History
    falls: Sequence[Fall]
    turn: Turn
    results: Sequence[Result]


def compare(
    history: History,
    pipeline: PipelineSettings,
    policies: Sequence[Policy],
    turn: Turn,
    detector: Detector,
    *,
    truth: Sequence[Said] | None = None,
    gpu: GpuSettings | None = None,
    progress: Progress = lambda *_: None,
) -> Compared:
    """``truth``: the falls that a person names; None: those in the measured quality, by the settings' ``min_drop``.

    Raises Stop where a named fall has no scores.
    """
    falls = measured(history, pipeline.quality.min_drop) if truth is None else told(history, truth)
    gpu = gpu or GpuSettings()
    usd_per_hour = gpu.usd_per_hour
    results = [report.recorded(history, falls, turn, usd_per_hour)]
    for policy in policies:
        settings = policy.over(pipeline)
        watching = detector(history.pipeline, settings.quality)
        done, world = run(history, settings, falls, turn, watching, partial(progress, policy.name), gpu)
        results.append(report.replayed(policy.name, history, done, world, turn, usd_per_hour))
    return Compared(history, falls, turn, results)
