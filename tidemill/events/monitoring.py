"""What the stream processors say: partials and progress (stage 1 to stage 2), windows, threshold events."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from tidemill.clock import rfc3339
from tidemill.events.types import Count, Id, Micros, Ms, Name, Offset, SchemaVersion, Unit, Variant, WordSet


class Moments(Struct, frozen=True, kw_only=True):
    """Count, sum and sum of squares: merges by adding."""

    n: Count = 0
    total: float = 0.0
    total_sq: float = 0.0


class Cell(Struct, frozen=True, kw_only=True):
    """Mergeable figures of one second of event time, for one version, variant and role."""

    second: Offset
    """Epoch seconds."""
    model_version: str = ""
    variant: Variant = "champion"
    role: Literal["client", "shadow"] = "client"
    requests: Count = 0
    answers: Count = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    """Answers by status (ok, error, timeout, cancelled, rejected)."""
    input_tokens: Count = 0
    cached_tokens: Count = 0
    output_tokens: Count = 0
    cost_micros: Micros = 0
    priced: Count = 0
    """Answers with a known cost; the others are unpriced, not free."""
    moments: dict[str, Moments] = field(default_factory=dict)
    """By metric name: durations (ttft_ms …), feature values (input_chars …), scores."""
    histograms: dict[str, dict[int, int]] = field(default_factory=dict)
    """By metric name: log-bucket counts (tidemill.sketch)."""
    words: dict[int, int] = field(default_factory=dict)
    """Hash-bucket counts of the users' words, from the sampled requests."""
    languages: dict[str, int] = field(default_factory=dict)
    """Sampled requests by language of the users' text, where it is known."""
    word_sets: dict[WordSet, int] = field(default_factory=dict)
    """Some sampled requests by the set of the users' words, in hash buckets (tidemill.word_sets)."""
    sampled: Count = 0
    """Requests whose text features were taken (a bounded, deterministic sample)."""
    sampled_answers: Count = 0
    """Answers whose text features were taken."""


class SliceCell(Cell, frozen=True, kw_only=True, omit_defaults=True):
    """Figures of one second of one slice: client calls and answers of all versions. No histograms, words,
    languages, word sets.

    Every event that is in a cell of role ``client`` is in one of these for each dimension of its pipeline, too; a score
    where it says its call's value.
    """

    slice: Name
    """``<dimension>=<value>``: ``tenant=acme``, ``tenant=`` where the call names none."""


class ScorePoint(Struct, frozen=True, kw_only=True):
    """One score, so that quality detectors can update once per score, in event-time order."""

    time_ms: Ms
    call_time_ms: Ms
    feedback_id: Id
    metric: Name
    score: Unit
    model_version: str
    variant: Variant
    source: Name
    label_source: str = ""
    slices: tuple[Name, ...] = ()
    """Of which slices its call is, as far as is known: ``tenant=acme``."""


class Partial(Struct, frozen=True, kw_only=True, tag="partial"):
    """Everything one frozen source range holds for one pipeline. Replayed, it is byte-identical."""

    schema: SchemaVersion = 1
    topic: Name
    partition: Count
    lo: Offset
    hi: Offset
    """The range is lo..hi, both inclusive. Where the source's log lost its tail, so that offsets come a second time,
    2**48 is added to all that come after; again, at each loss."""
    pipeline: Name
    cells: tuple[Cell, ...] = ()
    scores: tuple[ScorePoint, ...] = ()
    scores_dropped: Count = 0
    """Scores past the cap of 256 per second: they count in the cells, not in the detectors."""
    slices: tuple[SliceCell, ...] = ()
    """The same events once more, by slice: not to be added to the cells."""


class Partials(Struct, frozen=True, kw_only=True, tag="partials"):
    """Partials of one frozen source range, of all pipelines that share a partition: few messages, however many
    pipelines there are."""

    schema: SchemaVersion = 1
    partials: tuple[Partial, ...]


class PartitionProgress(Struct, frozen=True, kw_only=True):
    """How far a meter is on one source partition."""

    topic: Name
    partition: Count
    position: Offset
    """Next offset to be read; everything below has been produced as partials."""
    end: Offset
    """The partition's end offset, as last seen."""
    max_event_ms: Ms | None = None


class Progress(Struct, frozen=True, kw_only=True, tag="progress"):
    """Said several times a second to every partition of the partials topic. Idle = position equals end."""

    schema: SchemaVersion = 1
    meter: Name
    time_ms: Ms
    source_partitions: Count
    """How many source partitions there are in all: the watermark needs word of each."""
    partitions: tuple[PartitionProgress, ...]


class Window(Struct, frozen=True, kw_only=True):
    """One metric of one event-time window of one series (pipeline × version × variant × role)."""

    schema: SchemaVersion = 1
    pipeline: Name
    model_version: str = ""
    """Empty for figures that belong to the pipeline as a whole (requests, input features)."""
    variant: Variant = "champion"
    role: Literal["client", "shadow"] = "client"
    slice: str = ""
    """Empty: the whole series. Else the figures of one slice (``tenant=acme``), in the whole already."""
    metric: Name
    unit: str = ""
    start_ms: Ms
    end_ms: Ms
    n: Count
    total: float = 0.0
    total_sq: float = 0.0
    value: float | None = None
    """The headline figure in ``unit``: mean, rate, share or sum; None where n says nothing."""
    p50: float | None = None
    p95: float | None = None
    p99: float | None = None
    histogram: dict[int, int] | None = None
    sample_share: Unit = 1.0
    """Share of the calls that were looked at for this metric; below 1 where text is sampled."""
    complete: bool = True
    revision: Count = 0
    time_ms: Ms
    """When this revision was emitted."""


class ThresholdData(Struct, frozen=True, kw_only=True):
    """The body of a threshold event: what was breached, by how much, since when."""

    state: Literal["firing", "resolved"]
    rule: Name
    kind: Literal["quality", "drift", "latency", "errors", "traffic", "cost", "system"]
    severity: Literal["page", "ticket", "info"]
    pipeline: Name
    model_version: str = ""
    variant: str = ""
    slice: str = ""
    """Empty: the pipeline's whole traffic."""
    metric: Name
    value: float | None = None
    threshold: float | None = None
    reference: float | None = None
    """What it was before the change, where that is known."""
    window_start_ms: Ms
    window_end_ms: Ms
    change_time_ms: Ms | None = None
    """Estimated time of change, in call time."""
    change_from_ms: Ms | None = None
    change_until_ms: Ms | None = None
    """The interval of that estimate; an estimate itself, no statement of confidence."""
    statistic: float | None = None
    """What the detector had against there being no change when it alarmed: its wealth (an e-detector's)."""
    statistic_limit: float | None = None
    """Where it alarms: N of one false alarm in N clock updates."""
    warning: str = ""
    """What the detector assumes and the values do not keep to; empty: nothing was found."""
    detector: str = ""
    alarm_id: Id
    """The id of the firing event; the same on the resolved event."""
    started_ms: Ms
    summary: str = ""
    reason: str = ""
    evidence_url: str = ""


class ThresholdEvent(Struct, frozen=True, kw_only=True):
    """A CloudEvents 1.0 event in structured mode; ``id`` is derived from (rule, series, window start)."""

    specversion: Literal["1.0"] = "1.0"
    id: Id
    source: Name
    type: Literal["tidemill.threshold.breached", "tidemill.threshold.resolved"]
    subject: str
    """The series: ``pipeline/version/metric``, of a slice ``pipeline/version/metric/slice``."""
    time: str
    """RFC 3339, UTC."""
    time_ms: Ms
    datacontenttype: Literal["application/json"] = "application/json"
    dataschema: str = "tidemill/monitoring.thresholds/1"
    data: ThresholdData


def subject_of(pipeline: str, metric: str, slice: str = "") -> str:
    """The series of an alarm over all versions, in one string."""
    return f"{pipeline}//{metric}/{slice}" if slice else f"{pipeline}//{metric}"


def threshold_event(event_id: str, source: str, data: ThresholdData, time_ms: int) -> ThresholdEvent:
    """``data`` in its CloudEvents envelope: type, subject and time follow from it. Equal inputs, equal events."""
    return ThresholdEvent(
        id=event_id,
        source=source,
        type="tidemill.threshold.breached" if data.state == "firing" else "tidemill.threshold.resolved",
        subject=subject_of(data.pipeline, data.metric, data.slice),
        time=rfc3339(time_ms),
        time_ms=time_ms,
        data=data,
    )


class HostFigures(Struct, frozen=True, kw_only=True):
    """Figures of one part of a machine at one moment: of itself, of a GPU in it, of an engine, of its probes."""

    schema: SchemaVersion = 1
    host: Name
    """Name of the machine (setting ``host.name``)."""
    part: Name
    """``machine``, ``gpu/<number>``, ``engine/<name>`` or ``probe/<engine>``."""
    time_ms: Ms
    figures: dict[str, float] = field(default_factory=dict)
    """By name (tidemill.metrics.HostMetric); one that is not known is left out."""


__all__ = [
    "Cell",
    "HostFigures",
    "Moments",
    "Partial",
    "Partials",
    "PartitionProgress",
    "Progress",
    "ScorePoint",
    "SliceCell",
    "ThresholdData",
    "ThresholdEvent",
    "Window",
    "subject_of",
    "threshold_event",
]
