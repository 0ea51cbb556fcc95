"""Settings: one file (tidemill.yaml), environment overrides, strict, with errors that name the line."""

from __future__ import annotations

from tidemill.settings.gate import GateSettings, SuiteSettings
from tidemill.settings.levels import BudgetSettings, ObjectiveSettings, RuleSettings
from tidemill.settings.load import find_settings_file, load_settings
from tidemill.settings.model import Settings
from tidemill.settings.pipeline import DriftSettings, PipelineSettings, QualitySettings
from tidemill.settings.retraining import RetrainSettings
from tidemill.settings.rollout import MarginSettings, RolloutSettings
from tidemill.settings.triggers import GpuSettings, TriggerSettings

__all__ = [
    "BudgetSettings",
    "DriftSettings",
    "GateSettings",
    "GpuSettings",
    "MarginSettings",
    "ObjectiveSettings",
    "PipelineSettings",
    "QualitySettings",
    "RetrainSettings",
    "RolloutSettings",
    "RuleSettings",
    "Settings",
    "SuiteSettings",
    "TriggerSettings",
    "find_settings_file",
    "load_settings",
]
