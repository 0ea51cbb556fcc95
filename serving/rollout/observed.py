"""What a rollout sees: plain values, made by the controller, judged by ``decide``."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class ArmFigures:
    """One arm since the step began."""

    scored: int = 0
    mean: float | None = None
    """Mean score; None when nothing was scored."""
    answers: int = 0
    failed: int = 0
    """Answers that ended in error or timeout; a rejected call is its caller's fault."""

    @property
    def failed_share(self) -> float | None:
        """Share of failed answers; None without answers."""
        return self.failed / self.answers if self.answers else None


@dataclass(frozen=True)
class StepFigures:
    """Both arms since the step began. ``differences`` are champion minus candidate, in order."""

    champion: ArmFigures = ArmFigures()
    candidate: ArmFigures = ArmFigures()
    differences: tuple[float, ...] = ()


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
