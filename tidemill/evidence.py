"""What is known of why an alarm fired: the shape of ``<data_dir>/evidence/<alarm id>.evidence.json``.

The evidence role writes it, the console shows it. docs/reference/evidence.md says what each field means.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from tidemill.events.types import Ms

FOLDER = "evidence"
WAIT_MS = 25_000
"""From the alarm to its evidence at the earliest: so that there are calls after the change."""
OLD_MS = 24 * 3_600_000
"""Alarms older than this get no evidence any more."""
Found = Literal["slice", "none", "unchanged", "too_few_calls", "not_of_calls"]


class Side(Struct, frozen=True, kw_only=True):
    """The calls on one side of the change."""

    from_ms: Ms | None = None
    until_ms: Ms | None = None
    """Of the oldest and of the newest call; None without calls."""
    calls: int = 0
    known: int = 0
    """Calls whose figure is known; the mean is theirs."""
    mean: float | None = None


class Slice(Struct, frozen=True, kw_only=True):
    """One value of one dimension: its part in the change of the mean over all calls."""

    dimension: str
    value: str
    """Empty: calls without one. ``rest``: all values that have too few calls to be told apart."""
    rest: bool = False
    calls_before: int
    calls_after: int
    share_before: float
    share_after: float
    mean_before: float | None
    mean_after: float | None
    within: float
    """Contribution because its own mean moved."""
    mix: float
    """Contribution because its share of the calls moved."""
    explains: float | None = None
    """Share of the change that is gone when the slice is left out; None where too few calls would be left."""
    p_value: float | None = None
    """How often chance alone lets any slice look so telling."""
    coincides: bool = False
    """Nearly no call had this value before the change, and nearly every one has it since."""

    @property
    def contribution(self) -> float:
        """Its part in the change; those of one dimension add up to the whole change."""
        return self.within + self.mix


class Example(Struct, frozen=True, kw_only=True):
    """One call after the change, with as much text as the pipeline keeps."""

    call_id: str
    time_ms: Ms
    figure: float
    slices: dict[str, str] = {}
    question: str | None = None
    answer: str | None = None
    expected: str | None = None


class Evidence(Struct, frozen=True, kw_only=True):
    """Everything the evidence role found out about one alarm."""

    version: Literal[1] = 1
    alarm_id: str
    pipeline: str
    metric: str
    figure: str
    """What of a call stands for the metric; empty where nothing does."""
    made_ms: Ms
    change_ms: Ms
    capture: str
    """What the pipeline keeps of texts: full, redacted or off."""
    before: Side
    after: Side
    found: Found
    slices: tuple[Slice, ...] = ()
    """The telling ones first; how many those are, ``telling`` says."""
    telling: int = 0
    examples: tuple[Example, ...] = ()

    @property
    def change(self) -> float | None:
        """How far the mean moved; None where a side has none."""
        if self.before.mean is None or self.after.mean is None:
            return None
        return self.after.mean - self.before.mean


def evidence_file(data_dir: Path, alarm_id: str) -> Path:
    """Where an alarm's evidence lies; its report lies beside it."""
    return data_dir / FOLDER / f"{Path(alarm_id).name}.evidence.json"


def report_page(data_dir: Path, alarm_id: str) -> Path:
    """Where Evidently's report on an alarm lies, for people to read."""
    return data_dir / FOLDER / f"{Path(alarm_id).name}.html"


def read(file: Path) -> Evidence | None:
    """The evidence in a file; None where there is none, or none that this version understands."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Evidence)
    except (OSError, msgspec.DecodeError):
        return None
