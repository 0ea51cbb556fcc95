"""Settings of what watches machines and engines: figures, thresholds, probes, what is served."""

from __future__ import annotations

from pydantic import Field, model_validator

from tidemill.settings.strict import Strict, wrong


class HostSettings(Strict):
    """The role `host`, one on each machine: what it looks at, and when that is an alarm."""

    name: str = Field(default="", max_length=128)
    """Name of the machine in figures and alarms; empty: its host name. In a container, which gets a new host name each
    time, give one."""
    every_s: float = Field(default=5, gt=0, le=30)
    """Seconds between two looks."""
    engines: tuple[str, ...] | None = None
    """Engines that this machine's role watches and probes, each named by one machine only; none: all."""
    disk_above: float = Field(default=0.95, gt=0, le=1)
    """An alarm begins when more than this share of data_dir's file system has been in use for `for_s`."""
    disk_leave: float = Field(default=0.93, ge=0, le=1)
    """It ends at this share."""
    memory_above: float = Field(default=0.95, gt=0, le=1)
    """An alarm begins when more than this share of the machine's memory has been in use for `for_s`."""
    memory_leave: float = Field(default=0.9, ge=0, le=1)
    """It ends at this share."""
    waiting_above: float = Field(default=32, gt=0)
    """An alarm begins when more requests than this have waited in an engine's queue for `for_s`."""
    waiting_leave: float = Field(default=8, ge=0)
    """It ends at so many."""
    for_s: float = Field(default=60, ge=0)
    """How long a figure must have been beyond its threshold, seconds."""
    unreachable_s: float = Field(default=60, gt=0)
    """An engine that was heard of and has not answered for longer than this is an alarm, seconds."""
    served_every_s: float = Field(default=60, ge=0)
    """Seconds between two comparisons of what vLLM engines serve with what is registered; what differs twice in a row
    is an alarm. 0: none, for an engine that others load adapters into."""

    @model_validator(mode="after")
    def _check(self) -> HostSettings:
        for name in ("disk", "memory", "waiting"):
            above, leave = getattr(self, f"{name}_above"), getattr(self, f"{name}_leave")
            if leave > above:
                message = f"{leave:g} is beyond {name}_above ({above:g}): the alarm would end at once; give less"
                raise wrong((f"{name}_leave",), message)
        return self


class ProbeSettings(Strict):
    """Fixed prompts, asked again and again, whose answers tell of a silent change of the model."""

    every_s: float = Field(default=0, ge=0)
    """Seconds between two rounds; 0: no probes (a provider is paid for each)."""
    prompts: tuple[str, ...] = ()
    """What is asked, at temperature 0; none: eight prompts of tidemill's own."""
    max_tokens: int = Field(default=64, ge=1)
    """Most tokens of an answer."""
    learn_rounds: int = Field(default=10, ge=4)
    """Rounds at the start: the first half gives the reference, the second half how often answers equal it."""
    run_length: float = Field(default=10_000, ge=10)
    """At most one false alarm in so many rounds, on average."""

    @model_validator(mode="after")
    def _check(self) -> ProbeSettings:
        if 0 < self.every_s < 1:
            raise wrong(("every_s",), f"{self.every_s:g} floods the engine; give at least 1, or 0: no probes")
        return self
