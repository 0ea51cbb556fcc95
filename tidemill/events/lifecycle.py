"""Jobs, rollouts and routes: each record is the whole state of one thing, with a sequence number."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from tidemill.events.types import Count, Id, Ms, Name, SchemaVersion, Unit

Station = Literal["watch", "alarm", "data", "train", "gate", "shadow", "canary", "champion"]
JobPhase = Literal[
    "declined", "collecting", "snapshot", "training", "gating", "approving", "registered", "rejected", "failed"
]
OPEN_JOBS: frozenset[JobPhase] = frozenset({"collecting", "snapshot", "training", "gating", "approving"})
RolloutPhase = Literal["pending", "shadow", "canary", "promoting", "champion", "rolled_back", "failed"]
ENDED_ROLLOUTS: frozenset[RolloutPhase] = frozenset({"champion", "rolled_back", "failed"})
Hold = Literal["", "paused", "frozen", "blind", "inconclusive"]
"""Why a rollout takes no step forward: a person's order, a freeze window, the store does not answer, or a step took too
long. Harm takes it back all the same."""
OrderAct = Literal["start", "pause", "resume", "promote", "rollback", "abort"]
Watch = Literal["", "open", "kept", "back"]
"""The watch over a new champion: none, under way, ended with it in its place, ended by a rollback."""
TriggerKind = Literal["quality", "drift", "schedule", "age", "order"]


class StationTime(Struct, frozen=True, kw_only=True):
    """When one station of the wheel was entered and left."""

    station: Station
    started_ms: Ms
    ended_ms: Ms | None = None


class Score(Struct, frozen=True, kw_only=True):
    """A mean score of one model on one data set."""

    n: Count
    mean: Unit | None
    """None when n is 0."""


ORDER = "order"
"""The ``check`` of a verdict that a person gave."""


class Verdict(Struct, frozen=True, kw_only=True):
    """One comparison and what it decided; ``figures`` holds what the decision saw."""

    check: Name
    outcome: Literal["pass", "fail", "inconclusive"]
    reason: str = ""
    figures: dict[str, float | None] = field(default_factory=dict)
    time_ms: Ms = 0


class JobState(Struct, frozen=True, kw_only=True):
    """The whole state of one retraining job."""

    schema: SchemaVersion = 1
    job_id: Id
    seq: Count
    time_ms: Ms
    pipeline: Name
    phase: JobPhase
    reason: str
    """Why it is in this phase, in words a person on call understands."""
    alarm_id: Id
    alarm_metric: str = ""
    alarm_value: float | None = None
    change_time_ms: Ms | None = None
    created_ms: Ms
    deadline_ms: Ms | None = None
    fresh_labels: Count = 0
    needed_labels: Count = 0
    champion_version: str = ""
    snapshot_dir: str = ""
    data_digest: str = ""
    data_counts: dict[str, int] = field(default_factory=dict)
    trainer_pid: Count = 0
    adapter_dir: str = ""
    adapter_digest: str = ""
    base_digest: str = ""
    run_id: str = ""
    registered_name: str = ""
    candidate_version: str = ""
    """``<pipeline>-v<N>`` once registered."""
    scores: dict[str, Score] = field(default_factory=dict)
    """By ``<model>/<data set>``: candidate/golden, champion/verified …"""
    verdicts: tuple[Verdict, ...] = ()
    stations: tuple[StationTime, ...] = ()
    figures: dict[str, float | None] = field(default_factory=dict)


SPENDING: tuple[Station, ...] = ("train", "gate")
"""Stations of the wheel at which a job has the GPU."""


def gpu_seconds(job: JobState, now_ms: int) -> float:
    """GPU seconds a job has taken so far: what it held of GPUs, else (a machine without) the time of its SPENDING."""
    if (measured := job.figures.get("gpu_seconds") or 0.0) > 0:
        return measured
    took = (max(0, (s.ended_ms or now_ms) - s.started_ms) for s in job.stations if s.station in SPENDING)
    return sum(took) / 1000


class JobProgress(Struct, frozen=True, kw_only=True):
    """How far a running job is: for people and progress bars only; nothing decides on it."""

    schema: SchemaVersion = 1
    job_id: Id
    time_ms: Ms
    pipeline: Name
    phase: JobPhase
    done: Count
    of: Count
    loss: float | None = None
    note: str = ""


class RetrainDecision(Struct, frozen=True, kw_only=True):
    """One decision of the trigger policy. Another about the same trigger is written where its act or cause differs."""

    schema: SchemaVersion = 1
    decision_id: Id
    """Of trigger and ``seq``: the same decision has the same id, whoever makes it."""
    trigger_id: Id
    """The alarm's id, the order's, or one made of pipeline and occurrence (or champion)."""
    seq: Count
    """Of the decisions about this trigger."""
    time_ms: Ms
    pipeline: Name
    trigger: TriggerKind
    attempt: Count = 0
    """Jobs of this trigger that were in vain before."""
    act: Literal["ignore", "decline", "open"]
    """``decline``: not now (``again_ms``), or never; ``ignore``: it cannot begin a retraining."""
    cause: Name
    """The first reason as one word."""
    reasons: tuple[str, ...]
    """In words; the first one decided."""
    signals: dict[str, float | None] = field(default_factory=dict)
    """The figures it was made from; None: not known."""
    again_ms: Ms | None = None
    """From then on it is looked at again; None: it is not."""
    job_id: str = ""
    """The job that it opened."""
    champion_version: str = ""


class OrderTaken(Struct, frozen=True, kw_only=True):
    """A person's order to a rollout, and what became of it."""

    order_id: Id
    act: OrderAct
    by: str = ""
    """Who gave it, as they say themselves."""
    reason: str = ""
    time_ms: Ms
    """When it was taken."""
    at_once: bool = False
    """Of a start or a promotion: all traffic, without the steps between."""
    despite_freeze: bool = False
    """Of a start or a promotion: also in a freeze window."""
    refused: str = ""
    """Why nothing was done; empty: it was carried out."""


class RolloutState(Struct, frozen=True, kw_only=True):
    """The whole state of one rollout."""

    schema: SchemaVersion = 1
    rollout_id: Id
    seq: Count
    time_ms: Ms
    pipeline: Name
    phase: RolloutPhase
    reason: str
    job_id: str = ""
    alarm_id: str = ""
    candidate_version: Name
    candidate_adapter_dir: str
    candidate_digest: str = ""
    champion_version: Name
    """The champion beside which the candidate is compared; the way back."""
    champion_adapter_dir: str = ""
    registered_name: str = ""
    step: Count = 0
    """Index into ``steps`` while in phase canary."""
    steps: tuple[int, ...] = ()
    """Candidate's share of traffic per step, percent."""
    weight: Count = 0
    """Candidate's share now, percent."""
    route_epoch: Count = 0
    step_started_ms: Ms
    """When it came to its phase (in canary: to its step)."""
    created_ms: Ms
    verdicts: tuple[Verdict, ...] = ()
    stations: tuple[StationTime, ...] = ()
    figures: dict[str, float | None] = field(default_factory=dict)
    hold: Hold = ""
    hold_since_ms: Ms | None = None
    held_ms: Ms = 0
    """How long the step was held before this hold, milliseconds; the longest time of a step does not count it."""
    orders: tuple[OrderTaken, ...] = ()
    watch: Watch = ""
    watch_until_ms: Ms | None = None
    summary: str = ""
    """Of an ended rollout: what changed, what it cost, what it gained, in words."""


class Arm(Struct, frozen=True, kw_only=True):
    """One version that answers clients."""

    variant: Literal["champion", "canary"]
    model_version: Name
    model: Name
    """The name under which the engine serves it (adapter name, or the base)."""
    engine: Name
    """Name of the engine in the settings."""
    weight: Count
    """Percent; the weights of a route add up to 100."""


class Shadow(Struct, frozen=True, kw_only=True):
    """A version that answers beside the clients, unseen."""

    model_version: Name
    model: Name
    engine: Name
    sample_percent: Count = 100


class Route(Struct, frozen=True, kw_only=True):
    """Which versions serve a pipeline, at what weights, who shadows. Compacted, keyed by pipeline."""

    schema: SchemaVersion = 1
    pipeline: Name
    epoch: Count
    """Grows with each change; gateways report which one they apply."""
    time_ms: Ms
    arms: tuple[Arm, ...]
    shadow: Shadow | None = None
    reason: str = ""
    rollout_id: str = ""

    @property
    def champion(self) -> Arm:
        """The champion's arm; where a route has none, its heaviest."""
        return max(self.arms, key=lambda arm: (arm.variant == "champion", arm.weight))


class GatewayStatus(Struct, frozen=True, kw_only=True):
    """Said each second by every gateway: the epochs it applies and what is in flight."""

    schema: SchemaVersion = 1
    gateway_id: Id
    time_ms: Ms
    epochs: dict[str, int]
    in_flight: dict[str, int]
    """By version: calls being answered, shadows included."""
    spool_pending: Count = 0
    """Events appended to the local file and not yet acknowledged by Kafka."""
