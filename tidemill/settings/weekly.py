"""A stretch of time that comes back each week, by the clocks of a time zone."""

from __future__ import annotations

from datetime import time
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from tidemill.settings.strict import Strict, wrong

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class WeeklySettings(Strict):
    """A stretch of time that comes back each week."""

    name: str = Field(min_length=1, max_length=64)
    """What it is called in logs."""
    days: tuple[Day, ...] = DAYS
    """Days on which it begins."""
    at: time
    """Time of day at which it begins, by the clocks of `zone` (`'22:30'`, in quotes)."""
    lasts_s: float = Field(gt=0, le=604_800)
    """How long it lasts, seconds."""
    zone: str = "UTC"
    """Time zone by its IANA name (`Europe/Berlin`)."""

    @field_validator("at", mode="before")
    @classmethod
    def _quoted(cls, at: object) -> object:
        if isinstance(at, int | float):
            raise ValueError("write the time of day in quotes, as '22:30': without them YAML makes a number of it")
        return at

    @model_validator(mode="after")
    def _check_zone(self) -> WeeklySettings:
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise wrong(("zone",), f"{self.zone!r} is no time zone; for example 'Europe/Berlin'") from error
        if self.at.tzinfo is not None:
            raise wrong(("at",), f"{self.at.isoformat()} has an offset of its own; name the time zone in zone")
        return self
