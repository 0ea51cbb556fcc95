"""How a pipeline's data sets are made, out of its settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tidemill.settings import PipelineSettings


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a data set is made; recorded in its manifest. Each is the setting of its name."""

    holdout_share: float
    replay_share: float
    trusted_sources: tuple[str, ...]
    floor_labels: int
    min_verified: int
    metric: str
    max_tenant_share: float
    max_source_share: float
    max_contradiction: float
    max_wrong_share: float
    near_duplicate: float
    scrub: bool
    licences: Mapping[str, str] = field(default_factory=dict)


def rules_of(pipeline: PipelineSettings) -> Rules:
    """The rules that a pipeline's settings make."""
    return Rules(
        holdout_share=pipeline.retrain.holdout_share,
        replay_share=pipeline.retrain.replay_share,
        trusted_sources=pipeline.quality.trusted_sources,
        floor_labels=pipeline.retrain.floor_labels,
        min_verified=pipeline.gate.min_verified,
        metric=pipeline.quality.metric,
        max_tenant_share=pipeline.retrain.max_tenant_share,
        max_source_share=pipeline.retrain.max_source_share,
        max_contradiction=pipeline.retrain.max_contradiction,
        max_wrong_share=pipeline.retrain.max_wrong_share,
        near_duplicate=pipeline.retrain.near_duplicate,
        scrub=pipeline.retrain.scrub,
        licences=pipeline.retrain.licences,
    )
