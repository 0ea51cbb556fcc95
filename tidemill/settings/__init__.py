"""Settings: one file (tidemill.yaml), environment overrides, strict, with errors that name the line."""

from __future__ import annotations

from tidemill.settings.load import find_settings_file, load_settings
from tidemill.settings.model import Settings
from tidemill.settings.pipeline import (
    DriftSettings,
    GateSettings,
    PipelineSettings,
    QualitySettings,
    RetrainSettings,
    RolloutSettings,
    RuleSettings,
)

__all__ = [
    "DriftSettings",
    "GateSettings",
    "PipelineSettings",
    "QualitySettings",
    "RetrainSettings",
    "RolloutSettings",
    "RuleSettings",
    "Settings",
    "find_settings_file",
    "load_settings",
]
