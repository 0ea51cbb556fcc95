"""What a walk along a version's or a call's lineage finds. Absent is None or empty, never a made-up value."""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from tidemill.events import Score, Verdict

Held = Literal["trained on", "judged by", "not in it", "not known"]


class Alarm(Struct, frozen=True, kw_only=True):
    """What opened a job; ``kind`` is "order" where a person did, "gone" where the alarm is not kept any more."""

    alarm_id: str
    kind: str
    metric: str = ""
    value: float | None = None
    reference: float | None = None
    change_time_ms: int | None = None
    time_ms: int | None = None
    summary: str = ""


class Data(Struct, frozen=True, kw_only=True):
    """The data set a version was trained and judged on. ``intact``: the files hold what the digest says; None: they
    are not on this machine, and only what the job's log says is known.
    """

    digest: str
    counts: dict[str, int]
    intact: bool | None = None
    folder: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    notes: list[str] = []
    origins: dict[str, Any] = {}
    offsets: list[dict[str, Any]] = []


class Training(Struct, frozen=True, kw_only=True):
    """The job that made a version."""

    job_id: str
    phase: str
    reason: str
    created_ms: int
    ended_ms: int
    run_id: str
    base_digest: str
    adapter_digest: str
    champion_version: str
    """What served then, and what the gate compared with."""
    scores: dict[str, Score]
    verdicts: tuple[Verdict, ...]
    alarm: Alarm
    data: Data


class Way(Struct, frozen=True, kw_only=True):
    """One rollout of a version. ``ended_ms``: None while it goes on."""

    rollout_id: str
    phase: str
    reason: str
    created_ms: int
    ended_ms: int | None
    champion_version: str
    verdicts: tuple[Verdict, ...]


class Registered(Struct, frozen=True, kw_only=True):
    """A version as the registry has it."""

    aliases: list[str]
    tags: dict[str, str]


class Served(Struct, frozen=True, kw_only=True):
    """Answers of a version in one role (client, shadow) and variant."""

    role: str
    variant: str
    answers: int
    first_ms: int
    last_ms: int


class User(Struct, frozen=True, kw_only=True):
    """A job whose data set was asked for where calls of a version lie: how many of its calls had labels there."""

    job_id: str
    version: str
    phase: str
    labelled_calls: int


class Declared(Struct, frozen=True, kw_only=True):
    """A version that no training makes, as the settings declare it."""

    what: str
    """In words."""
    kind: str
    engine: str
    """Empty: it is answered by the model of the version ``of``."""
    model: str
    """Its name there; empty for an adapter, which has the version's own."""
    of: str
    prompt_version: str
    system_prompt: str | None
    """None: the pipeline's."""
    upstream_headers: dict[str, str]
    folder: str
    """Where its weights lie; empty: the settings do not say."""
    made: dict[str, Any]
    """What was noted where it was merged or quantized (derived.json); empty: nothing."""
    digest: str | None = None
    """Of its weights as they are now (an adapter's file, a model's folder); empty: they are not here; None: not looked
    at."""
    intact: bool | None = None
    """Whether that is the digest which was noted; None: not known."""


class VersionLineage(Struct, frozen=True, kw_only=True):
    """All that is known of one version."""

    version: str
    pipeline: str
    training: Training | None
    """None: no job made it."""
    rollouts: list[Way]
    before: list[str]
    """The champions it came after, each the one the next was compared with, latest first."""
    registered: Registered | None
    """None: the registry was not asked, or does not know it."""
    served: list[Served]
    used_by: list[User]
    declared: Declared | None = None
    """None: the settings declare no such version."""


class Answered(Struct, frozen=True, kw_only=True):
    """One answer to a call, and where its version came from."""

    answer_id: str
    role: str
    variant: str
    time_ms: int
    status: str
    route_epoch: int
    version: str
    rollout_id: str
    """The rollout in which the version gave it; empty: none was under way, or none is known."""
    lineage: VersionLineage | None
    """None: nothing is known of its version."""


class Said(Struct, frozen=True, kw_only=True):
    """One piece of feedback on a call, without its text."""

    kind: str
    source: str
    time_ms: int
    version: str
    metric: str = ""
    score: float | None = None


class Holder(Struct, frozen=True, kw_only=True):
    """A job whose data set was asked for where this call lies, and what became of the call's prompt in it."""

    job_id: str
    version: str
    phase: str
    held: Held


class CallLineage(Struct, frozen=True, kw_only=True):
    """All that is known of one call."""

    call_id: str
    pipeline: str
    time_ms: int
    answers: list[Answered]
    feedback: list[Said]
    used_by: list[Holder]
