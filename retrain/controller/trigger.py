"""What comes of one trigger, given everything known: the trigger policy over the book. Pure.

The controller asks it on every tick, and so does the replay of a policy over history.
"""

from __future__ import annotations

from typing import NamedTuple

from retrain.controller import states
from retrain.controller.book import Book
from retrain.policy import Decision, Known, Trigger, decide, job_id_of, refused
from tidemill.events import JobState, RetrainDecision
from tidemill.ids import derived_id
from tidemill.settings import PipelineSettings


class Outcome(NamedTuple):
    """What to do about a trigger."""

    state: JobState | None = None
    """The state to record: a job that opens, or a decision against one."""
    said: RetrainDecision | None = None
    """The decision to record, where it is another one than the last about this trigger."""
    done: str = ""
    """Why the trigger need not be asked about again; empty: ask again at the next tick."""


def outcome(trigger: Trigger, pipeline: PipelineSettings, book: Book, known: Known, champion: str) -> Outcome:
    """The decision on one trigger that the book has as undecided. Safe to ask again; the same knowledge gives the same
    answer.
    """
    tried = book.attempts(trigger.trigger_id)
    last = tried[-1] if tried else None
    if last is not None and book.in_vain(last):
        return _again(trigger, pipeline, book, len(tried), last, known, champion)
    attempt = max(0, len(tried) - 1)
    decision = decide(trigger, pipeline, known)
    if last is not None and trigger.alarm is not None and last.champion_version != champion:
        reason = f"the alarm was about {last.champion_version}; {champion} serves now"
        decision = refused(trigger, pipeline, known, "champion_changed", reason)
    said = _said(trigger, decision, known, book, champion, attempt)
    if decision.act == "ignore":
        return Outcome(said=said, done=decision.reason)
    if decision.act == "wait" or (last is not None and decision.again_ms is not None):
        return Outcome(said=said)
    return Outcome(states.from_trigger(trigger, decision, known.now_ms, champion, last, attempt), said)


def _again(
    trigger: Trigger, pipeline: PipelineSettings, book: Book, tried: int, last: JobState, known: Known, champion: str
) -> Outcome:
    """After a job in vain what still asks may cause another, a cool-down later; until then no state is recorded."""
    if last.champion_version != champion or tried >= pipeline.retrain.max_attempts:
        done = f"{trigger.kind} trigger on {trigger.pipeline}: no further job ({tried} in vain, {champion} serves)"
        decision = refused(trigger, pipeline, known, "in_vain", done)
        return Outcome(said=_said(trigger, decision, known, book, champion, tried), done=done)
    decision = decide(trigger, pipeline, known)
    said = _said(trigger, decision, known, book, champion, tried)
    if decision.act != "open":
        return Outcome(said=said)
    return Outcome(states.from_trigger(trigger, decision, known.now_ms, champion, attempt=tried), said)


def _said(
    trigger: Trigger, decision: Decision, known: Known, book: Book, champion: str, attempt: int
) -> RetrainDecision | None:
    """The decision as an event; None where it was said already, or where nothing is decided yet."""
    if decision.act == "wait":
        return None
    before = book.decisions.get(trigger.trigger_id)
    seq = 0 if before is None else before.seq + 1
    event = RetrainDecision(
        decision_id=derived_id("decision", trigger.trigger_id, seq),
        trigger_id=trigger.trigger_id,
        seq=seq,
        time_ms=known.now_ms,
        pipeline=trigger.pipeline,
        trigger=trigger.kind,
        attempt=attempt,
        act=decision.act,
        cause=decision.cause,
        reasons=decision.reasons,
        signals=dict(decision.signals),
        again_ms=decision.again_ms,
        job_id=job_id_of(trigger.trigger_id, attempt) if decision.act == "open" else "",
        champion_version=champion,
    )
    return None if before is not None and _kind(before) == _kind(event) else event


def _kind(said: RetrainDecision) -> tuple[str, str, int, str]:
    return said.act, said.cause, said.attempt, said.champion_version
