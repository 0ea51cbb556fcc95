"""What comes of one alarm, given everything known: the trigger policy over the book. Pure.

The controller asks it on every tick, and so does the replay of a policy over history.
"""

from __future__ import annotations

from typing import NamedTuple

from retrain.controller import states
from retrain.controller.book import Book
from retrain.policy import Decision, Known, on_alarm
from tidemill.events import JobState, ThresholdEvent
from tidemill.settings import PipelineSettings


class Outcome(NamedTuple):
    """What to do about an alarm."""

    state: JobState | None = None
    """The state to record: a job that opens, or a decision against one."""
    done: str = ""
    """Why the alarm need not be asked about again; empty: ask again at the next tick."""


def outcome(event: ThresholdEvent, pipeline: PipelineSettings, book: Book, known: Known, champion: str) -> Outcome:
    """The decision on one undecided alarm of the book. Safe to ask again; the same knowledge gives the same answer."""
    tried = book.attempts(event.data.alarm_id)
    last = tried[-1] if tried else None
    if last is not None and book.in_vain(last):
        return _again(event, pipeline, len(tried), last, known, champion)
    decision = on_alarm(event, pipeline, known)
    if last is not None and last.champion_version != champion:
        reason = f"the alarm was about {last.champion_version}; {champion} serves now"
        decision = Decision(act="decline", reason=reason)
    if decision.act == "ignore":
        return Outcome(done=decision.reason)
    if decision.act == "wait" or (last is not None and decision.again_ms is not None):
        return Outcome()
    attempt = max(0, len(tried) - 1)
    return Outcome(states.from_alarm(event, decision, known.now_ms, champion, last, attempt=attempt))


def _again(
    event: ThresholdEvent, pipeline: PipelineSettings, tried: int, last: JobState, known: Known, champion: str
) -> Outcome:
    """After a job in vain an alarm that still fires may cause another, a cool-down later; until then no record."""
    if last.champion_version != champion or tried >= pipeline.retrain.max_attempts:
        return Outcome(done=f"alarm on {event.data.pipeline}: no further job ({tried} in vain, {champion} serves)")
    decision = on_alarm(event, pipeline, known)
    if decision.act != "open":
        return Outcome()
    return Outcome(states.from_alarm(event, decision, known.now_ms, champion, None, attempt=tried))
