"""What a rollout sees: plain values, made by the controller, judged by ``decide``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from serving.rollout.betting import Floats, Payoffs
from serving.rollout.sessions import Ints


@dataclass(frozen=True)
class ArmFigures:
    """One arm since the step began."""

    scored: int = 0
    mean: float | None = None
    """Mean score; None when nothing was scored."""
    answers: int = 0
    failed: int = 0
    """Answers that ended in error or timeout; a rejected call is its caller's fault."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Values of one arm's answers, and the session of each, numbered from 0."""

    values: Floats = field(default_factory=lambda: np.zeros(0))
    units: Ints = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class Pair:
    """One unbounded metric of both arms' clients in the same stretch of time."""

    champion: Sample = Sample()
    candidate: Sample = Sample()


@dataclass(frozen=True)
class StepFigures:
    """Both arms since the step began. Payoffs are champion minus candidate, best 1: of failures, the share without."""

    champion: ArmFigures = ArmFigures()
    candidate: ArmFigures = ArmFigures()
    quality: Payoffs = field(default_factory=Payoffs)
    thumbs: Payoffs = field(default_factory=Payoffs)
    failures: Payoffs = field(default_factory=Payoffs)
    amounts: Mapping[str, Pair] = field(default_factory=dict)
    """By metric: ``ttft_ms``, ``e2e_ms``, ``cost``; in a canary only, as shadows wait for clients."""


@dataclass(frozen=True)
class Observed:
    """The world of one rollout at one moment. None: could not be seen now, so nothing is decided on it."""

    now_ms: int
    figures: StepFigures | None = field(default=None)
    loaded: bool | None = None
    """Whether the candidate's adapter is in its engine."""
    refused: str = ""
    """Why the engine will never load it."""
    drained: bool | None = None
    """Whether all live gateways apply the route and none has the old champion in flight."""
    registry_done: bool | None = None
    """Whether aliases and tags in the registry say what the phase says."""
    superseded: bool = False
    """Whether another rollout of the pipeline has begun since."""
    freeze: str = ""
    """Why no step forward may be taken now, in words; empty: one may."""
