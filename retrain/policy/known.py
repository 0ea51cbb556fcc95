"""What is known of a pipeline at the moment of a decision. Values; None is "not known", never zero."""

from __future__ import annotations

from dataclasses import dataclass, field

from retrain.policy.funds import Funds


@dataclass(frozen=True, kw_only=True)
class Known:
    """The signals beside the trigger itself."""

    now_ms: int
    busy: str = ""
    """The job or rollout under way, in words; empty when there is none."""
    last_end_ms: int | None = None
    """When the pipeline's last job or rollout ended; None: never."""
    resolved: bool = False
    """The alarm has been resolved meanwhile."""
    trains_here: bool = True
    """The pipeline's engine takes adapters (kind vllm)."""
    champion: str = ""
    """The version that serves; empty: the one of the settings."""
    fresh_labels: int | None = None
    """Labels since the trigger's ``since_ms``; None: the store did not say (yet)."""
    estimated_loss: float | None = None
    """Fall of quality since then by the labels there are, in score; None: no labels."""
    sure_loss: float | None = None
    """The least that quality has fallen by the estimate without labels, in score; None: no estimate (yet)."""
    calls_per_day: float | None = None
    """Answers to clients, as of the last day; None: none are known."""
    data_age_days: float | None = None
    """Age of the champion's training data; None: no job made it."""
    funds: Funds = field(default_factory=Funds)
