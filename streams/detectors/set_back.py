"""What the detectors forget when the clock turns out to have been ahead: what they took for hours still to come.

A season goes through its hours in order. Left in one of tomorrow it would compare all of today with it, and alarm.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from streams.detectors.baseline import Batch
from streams.detectors.drift import Drift
from streams.detectors.quality import QualityState
from streams.detectors.season import SLOT_MS, SeasonState
from streams.detectors.slice_drift import SliceDrift
from streams.detectors.watch import Watch


def quality(state: QualityState, time_ms: int) -> QualityState:
    """The state to go on from at ``time_ms``."""
    return state if state.hours is None else replace(state, hours=_season(state.hours, time_ms))


def drift(raw: bytes, time_ms: int) -> bytes:
    """The same for an encoded Drift."""
    state = _drift.decode(raw)
    for watch in state.watches.values():
        _watch(watch, time_ms)
    if state.batch.start_ms > time_ms:
        state.batch = Batch()
    return _encoder.encode(state)


def slice_drift(raw: bytes, time_ms: int) -> bytes:
    """The same for an encoded SliceDrift."""
    state = _slice_drift.decode(raw)
    for watches in state.watches.values():
        for watch in watches.values():
            _watch(watch, time_ms)
    return _encoder.encode(state)


def _watch(watch: Watch, time_ms: int) -> None:
    if watch.start_ms > time_ms:
        watch.n, watch.total, watch.start_ms = 0, 0.0, 0
    if watch.hours:
        watch.hours = _encoder.encode(_season(_hours.decode(watch.hours), time_ms))


def _season(state: SeasonState, time_ms: int) -> SeasonState:
    """What the visit of a later hour saw is left out; what a whole such visit taught cannot be told from the rest."""
    now = time_ms // SLOT_MS
    return state if state.visit <= now else replace(state, visit=now, n=0, total=0.0, squares=0.0)


_encoder = msgspec.msgpack.Encoder()
_drift = msgspec.msgpack.Decoder(Drift)
_slice_drift = msgspec.msgpack.Decoder(SliceDrift)
_hours = msgspec.msgpack.Decoder(SeasonState)
