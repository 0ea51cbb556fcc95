"""Replays a file straight into the inference topics at a chosen speed.

Event time is the time of sending, so a replay at ``speed`` 60 shows an hour of traffic in a minute of windows; what a
file does not know (latency, cost, text) stays unknown in the events.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TypeVar

from producers.replay.rows import Row
from producers.sdk import Recorder
from tidemill.clock import Clock
from tidemill.errors import Retry, Stop
from tidemill.ids import derived_id, uuid7

T = TypeVar("T")
ROOM_S = 0.1
"""How long to wait for room where Kafka is slower than the replay."""
LOOK_S = 1.0
"""How often a replay that waits for the next row looks whether Kafka takes what was sent."""
PATIENCE_S = 30.0
"""The longest time in which Kafka may take nothing."""
SESSION_CALLS = 4
"""Calls per session: traces do not say whose call is whose."""


@dataclass
class Sent:
    """What a replay has sent so far."""

    requests: int = 0
    responses: int = 0
    labels: int = 0


def replay(
    rows: Iterable[Row],
    recorder: Recorder,
    clock: Clock,
    *,
    pipeline: str,
    model_version: str,
    speed: float,
    stop: Event,
    progress: Callable[[Sent], None] = lambda sent: None,
) -> Sent:
    """Send every row at its time divided by ``speed``; returns when all are acknowledged or ``stop`` is set.

    Raises Stop when Kafka takes nothing for PATIENCE_S, Retry when something is not acknowledged in the end.
    """
    started_s = clock.monotonic_s()
    patience = _Patience(recorder, clock)
    run = uuid7(clock.now_ms())
    sent = Sent()
    for index, row in enumerate(rows):
        due_s = started_s + row.after_ms / 1000 / speed
        while (wait_s := due_s - clock.monotonic_s()) > 0.001 and not stop.wait(min(wait_s, LOOK_S)):
            patience.look()
        if stop.is_set():
            break
        _send(row, index, run, recorder, pipeline, model_version, sent, stop, patience)
        if index % 100 == 0:
            progress(sent)
    recorder.flush()
    progress(sent)
    return sent


class _Patience:
    """Ends when events wait and Kafka has taken none for PATIENCE_S."""

    def __init__(self, recorder: Recorder, clock: Clock) -> None:
        self._recorder, self._clock = recorder, clock
        self._taken = 0
        self._since_s = clock.monotonic_s()

    def look(self) -> None:
        """Blocks not. Raises Stop."""
        waiting, now_s = self._recorder.waiting(), self._clock.monotonic_s()
        if self._recorder.acknowledged > self._taken or not waiting:
            self._taken, self._since_s = self._recorder.acknowledged, now_s
        elif now_s - self._since_s > PATIENCE_S:
            raise Stop(
                f"Kafka has taken nothing for {PATIENCE_S:.0f} s ({self._taken:,} events before, {waiting:,} wait); "
                "see `tidemill status`, or kafka.bootstrap in tidemill.yaml"
            )


def _send(
    row: Row,
    index: int,
    run: str,
    recorder: Recorder,
    pipeline: str,
    model_version: str,
    sent: Sent,
    stop: Event,
    patience: _Patience,
) -> None:
    session = derived_id(run, index // SESSION_CALLS)
    messages = None if row.text is None else [("user", row.text)]
    call = _taken(
        lambda: recorder.request(pipeline=pipeline, session=session, messages=messages, attributes={"replay": run}),
        stop,
        patience.look,
    )
    sent.requests += 1
    if row.output_tokens is not None:
        _taken(
            lambda: recorder.response(
                call,
                model_version=model_version,
                gen_ai_usage_input_tokens=row.input_tokens,
                gen_ai_usage_output_tokens=row.output_tokens,
                route_reason="replay",
            ),
            stop,
            patience.look,
        )
        sent.responses += 1
    if row.label is not None:
        _taken(lambda: recorder.feedback(call, kind="label", source="replay", value=row.label), stop, patience.look)
        sent.labels += 1


def _taken(record: Callable[[], T], stop: Event, look: Callable[[], None] = lambda: None) -> T:
    """Record as soon as there is room: a replay may wait for Kafka. Raises Retry when ``stop`` is set before that.

    ``look`` is called while it waits, and may raise to end the wait.
    """
    while True:
        try:
            return record()
        except Retry:
            if stop.wait(ROOM_S):
                raise
            look()


def default_pipeline(path: Path) -> str:
    """The pipeline a file is replayed as when none is named: its name, cut at the first dot."""
    return path.name.split(".")[0]
