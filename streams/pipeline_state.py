"""What is kept of a pipeline between messages, and how a state of an earlier version is read."""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

from streams.budgets import Spend
from streams.detectors.drift import Drift
from streams.detectors.quality import QualityState
from streams.detectors.slice_drift import SliceDrift
from streams.detectors.slice_quality import SliceQuality
from streams.false_alarms import EMPTY
from streams.objectives import ObjectiveState
from streams.rules import RuleState
from streams.windows.state import Windows
from tidemill.errors import Stop
from tidemill.events import ScorePoint

SCHEMA = 6
"""Of PipelineState. 3 added objectives and spend, 4 slices, the false-alarm budget and other detectors, 5 seasons, 6
quality by slice. A state of before is read as one without them: its references and open alarms are kept, its detectors
have seen nothing (since 4: what they have)."""
_encoder = msgspec.msgpack.Encoder()
NO_SLICES = msgspec.Raw(_encoder.encode(SliceDrift()))


class PipelineState(Struct, array_like=True):
    """Everything kept of one pipeline: one value of the Faust table, one atomic step when it is written."""

    schema: int = SCHEMA
    windows: Windows = field(default_factory=Windows)
    quality: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(_encoder.encode(QualityState())))
    """A QualityState; encoded apart, since most states are written with no new score."""
    drift: msgspec.Raw = field(default_factory=lambda: msgspec.Raw(_encoder.encode(Drift())))
    """A Drift; decoded while a window is judged, for it is seldom looked at and mostly word counts."""
    rules: dict[str, RuleState] = field(default_factory=dict)
    pending: list[ScorePoint] = field(default_factory=list)
    """Scores that the watermark has not passed yet."""
    objectives: dict[str, ObjectiveState] = field(default_factory=dict)
    spend: Spend = field(default_factory=Spend)
    false_alarms: msgspec.Raw = EMPTY
    """A Ledger of the false-alarm budget."""
    slice_drift: msgspec.Raw = NO_SLICES
    """A SliceDrift; it may be large."""
    slice_quality: SliceQuality = field(default_factory=SliceQuality)


class _Schema(Struct, array_like=True):
    """The part of a state that says how to read the rest."""

    schema: int


_schema_decoder = msgspec.msgpack.Decoder(_Schema)
_state_decoder = msgspec.msgpack.Decoder(PipelineState)


def read(name: str, state: bytes) -> PipelineState:
    """The state of pipeline ``name``. Raises Stop where a later version wrote it."""
    written = _schema_decoder.decode(state).schema
    if written > SCHEMA:
        raise Stop(
            f"the state of pipeline {name!r} has schema {written}, and this version reads up to {SCHEMA}: "
            "a later version wrote it; run that version again"
        )
    found = _state_decoder.decode(state)
    found.schema = SCHEMA
    return found
