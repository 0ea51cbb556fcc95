"""Event types, one per fact: what travels on the topics.

``inference`` is the public contract any producer may write; ``monitoring`` is what the stream
processors say; ``lifecycle`` is the log of jobs, rollouts and routes; ``alerting`` is what people want of alarms.
"""

from __future__ import annotations

from tidemill.events.alerting import Silence
from tidemill.events.inference import Feedback, InferenceRequest, InferenceResponse, Message
from tidemill.events.lifecycle import (
    Arm,
    GatewayStatus,
    JobProgress,
    JobState,
    OrderTaken,
    RetrainDecision,
    RolloutState,
    Route,
    Score,
    Shadow,
    StationTime,
    Verdict,
)
from tidemill.events.monitoring import (
    Cell,
    HostFigures,
    Moments,
    Partial,
    Partials,
    PartitionProgress,
    Progress,
    ScorePoint,
    SliceCell,
    ThresholdData,
    ThresholdEvent,
    Window,
    subject_of,
    threshold_event,
)

__all__ = [
    "Arm",
    "Cell",
    "Feedback",
    "GatewayStatus",
    "HostFigures",
    "InferenceRequest",
    "InferenceResponse",
    "JobProgress",
    "JobState",
    "Message",
    "Moments",
    "OrderTaken",
    "Partial",
    "Partials",
    "PartitionProgress",
    "Progress",
    "RetrainDecision",
    "RolloutState",
    "Route",
    "Score",
    "ScorePoint",
    "Shadow",
    "Silence",
    "SliceCell",
    "StationTime",
    "ThresholdData",
    "ThresholdEvent",
    "Verdict",
    "Window",
    "subject_of",
    "threshold_event",
]
