"""THE table of topics: name, event, key, partitions, retention, where it lands, its dead-letter topic."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill import events
from tidemill.codec import Decoder

if TYPE_CHECKING:
    from tidemill.bulk import BulkDecoder

DLQ_SUFFIX = ".dlq"
DAY_MS = 86_400_000
MAX_MESSAGE_BYTES = 1_048_576
"""What a topic holds, per message (Kafka's default); the SDK refuses more with a clear error."""
MAX_DLQ_MESSAGE_BYTES = 16 * MAX_MESSAGE_BYTES
"""What producers send and dead-letter topics hold, per message: well above the other topics' limit, which is on
compressed batches, while a producer's is on the message as it is."""

BY_COMMAND = "`tidemill silence add` and `expire`"
"""Stands in the place of the role where only a command writes a topic."""


@dataclass(frozen=True)
class Topic:
    """One row of the table."""

    name: str
    event: Any
    key: str
    """What the message key holds."""
    partitions: int
    written_by: str
    """Roles, ``any producer`` where the topic is public, or BY_COMMAND."""
    read_by: str
    """Roles. The commands and the demo read some topics, too."""
    table: str | None = None
    """ClickHouse table its events land in."""
    retention_ms: int = 7 * DAY_MS
    compacted: bool = False
    dead_letters: bool = True
    """Whether some reader sends what it cannot read to ``dlq``."""

    @property
    def dlq(self) -> str:
        """Name of the topic that takes this one's rejected messages, where there is one (``dead_letters``)."""
        return self.name + DLQ_SUFFIX

    def decoder(self) -> Decoder[Any]:
        """A strict decoder of this topic's messages."""
        return Decoder(self.event)

    def bulk_decoder(self) -> BulkDecoder[Any]:
        """As strict, for many messages at once."""
        from tidemill.bulk import BulkDecoder

        return BulkDecoder(self.event)


REQUESTS = Topic(
    "inference.requests", events.InferenceRequest, "call id", 2, "gateway, any producer", "meter, sink", "requests"
)
RESPONSES = Topic(
    "inference.responses", events.InferenceResponse, "call id", 2, "gateway, any producer", "meter, sink", "responses"
)
FEEDBACK = Topic(
    "inference.feedback",
    events.Feedback,
    "call id",
    2,
    "gateway, scorer, any producer",
    "meter, sink, scorer",
    "feedback",
)
PARTIALS = Topic(
    "monitoring.partials",
    events.Partial | events.Partials | events.Progress,
    "none: the partition says which pipelines",
    2,
    "meter",
    "streams",
    retention_ms=DAY_MS,
)
WINDOWS = Topic("monitoring.windows", events.Window, "pipeline", 2, "streams, estimate", "sink", "windows")
THRESHOLDS = Topic(
    "monitoring.thresholds",
    events.ThresholdEvent,
    "pipeline",
    1,
    "streams, audit, host",
    "sink, alerts, evidence, retrain, audit, host",
    "events",
)
HOSTS = Topic("monitoring.hosts", events.HostFigures, "host", 1, "host", "sink", "hosts")
JOBS = Topic("retrain.jobs", events.JobState, "job id", 1, "retrain", "sink, rollout, retrain", "jobs", compacted=True)
PROGRESS = Topic(
    "retrain.progress", events.JobProgress, "job id", 1, "retrain", "sink", "progress", retention_ms=DAY_MS
)
DECISIONS = Topic(
    "retrain.decisions",
    events.RetrainDecision,
    "trigger id",
    1,
    "retrain",
    "sink, retrain",
    "decisions",
    compacted=True,
)
ROLLOUTS = Topic(
    "rollout.states",
    events.RolloutState,
    "rollout id",
    1,
    "rollout",
    "sink, retrain, rollout",
    "rollouts",
    compacted=True,
)
ROUTES = Topic(
    "serving.routes",
    events.Route,
    "pipeline",
    1,
    "rollout",
    "gateway, rollout, sink, retrain, host",
    "routes",
    compacted=True,
)
GATEWAYS = Topic(
    "serving.gateways",
    events.GatewayStatus,
    "gateway id",
    1,
    "gateway",
    "rollout",
    retention_ms=3_600_000,
    dead_letters=False,
)
SILENCES = Topic(
    "alerts.silences",
    events.Silence,
    "silence id",
    1,
    BY_COMMAND,
    "alerts, console",
    compacted=True,
    dead_letters=False,
)

TOPICS: tuple[Topic, ...] = (
    REQUESTS,
    RESPONSES,
    FEEDBACK,
    PARTIALS,
    WINDOWS,
    THRESHOLDS,
    HOSTS,
    JOBS,
    PROGRESS,
    DECISIONS,
    ROLLOUTS,
    ROUTES,
    GATEWAYS,
    SILENCES,
)


def partition_of(pipeline: str, partitions: int) -> int:
    """The partition of monitoring.partials that carries a pipeline: where librdkafka puts the key, too."""
    return zlib.crc32(pipeline.encode()) % partitions


BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}
LANDING: tuple[Topic, ...] = tuple(topic for topic in TOPICS if topic.table is not None)
"""Topics whose events the sink carries to ClickHouse."""
SINK_GROUP = "tidemill-sink"
"""The sink's consumer group: what lies below its committed offsets has landed."""
METERED: tuple[Topic, ...] = tuple(topic for topic in TOPICS if "meter" in topic.read_by.split(", "))
"""Topics whose events the meter folds: their offsets are in the partials."""
