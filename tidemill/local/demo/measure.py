"""What the demo's users and tables say of a run: qualities of a turn, failed calls, jobs, webhooks."""

from __future__ import annotations

import json
import urllib.request
from bisect import bisect_right
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from producers.traffic.traffic import Tally
from tidemill.events import ThresholdEvent
from tidemill.ids import uuid7_time_ms
from tidemill.io.clickhouse import Store
from tidemill.local.demo import books
from tidemill.local.demo.explained import unexplained
from tidemill.local.demo.kills import Kill
from tidemill.local.demo.observer import Observer
from tidemill.local.demo.scenario import Turn
from tidemill.local.demo.turn import Outcome
from tidemill.settings import Settings

AFTER_WITHIN_S = 180.0
"""How long at most a new champion's first scores are waited for."""

DYING_MS = 500
"""A killed gateway may take calls for an instant more; it is never back within this time."""


Span = tuple[int, int]
"""From a time to another, without it; epoch milliseconds."""


def wait_for_scores(
    store: Store,
    settings: Settings,
    turn: Turn,
    since_ms: int,
    now_ms: Callable[[], int],
    wait: Callable[[float], object],
) -> None:
    """Wait until calls since a time have been scored as often as the turn asks for, or for AFTER_WITHIN_S."""
    metric = settings.pipelines[turn.pipeline].quality.metric
    waited_s = 0.0
    while waited_s < AFTER_WITHIN_S:
        if books.quality(store, turn.pipeline, metric, since_ms, now_ms()).n >= turn.after_scores:
            return
        wait(1.0)
        waited_s += 1.0


def spans_of(outcome: Outcome, since_ms: int, after_ms: int, now_ms: int) -> dict[str, Span]:
    """Before the users' change, between it and the candidate's first client, and after a new champion took over."""
    return {
        "before": (since_ms, outcome.changed_ms),
        "changed": (outcome.changed_ms, _traffic_given(outcome)),
        "after": (after_ms, now_ms),
    }


def turn_figures(
    store: Store, settings: Settings, outcome: Outcome, spans: Mapping[str, Span], held_back: Collection[str] = ()
) -> dict[str, Any]:
    """The figures of one turn. With ``held_back`` labels also the qualities on those and on the others."""
    pipeline = outcome.turn.pipeline
    metric = settings.pipelines[pipeline].quality.metric
    scores = {name: books.quality(store, pipeline, metric, *span) for name, span in spans.items()}
    last = outcome.rollout or outcome.job
    figures: dict[str, Any] = {
        "pipeline": pipeline,
        "ending": outcome.ending,
        "as_told": outcome.as_told,
        "change_to_alarm_s": outcome.alarm_after_s,
        "change_to_end_s": outcome.ended_after_s,
        "change_error_s": outcome.change_error_s,
        "stations_s": dict(outcome.stations_s()),
        **{f"quality_{name}": each.mean for name, each in scores.items()},
        "scores": {name: each.n for name, each in scores.items()},
        "reason": "" if last is None else last.reason,
    }
    if held_back:
        split = {
            name: books.quality_by_share(store, pipeline, metric, *span, labels=held_back)
            for name, span in spans.items()
        }
        figures["held_back"] = {name: {"quality": new.mean, "scores": new.n} for name, (new, _) in split.items()}
        figures["known"] = {name: {"quality": known.mean, "scores": known.n} for name, (_, known) in split.items()}
    return figures


def jobs_begun(observer: Observer) -> dict[str, int]:
    """Jobs begun, by pipeline; a decision not to retrain is none."""
    begun = {(s.pipeline, s.job_id) for s in observer.jobs if s.phase != "declined"}
    pipelines = {pipeline for pipeline, _ in begun}
    return {pipeline: sum(p == pipeline for p, _ in begun) for pipeline in sorted(pipelines)}


def call_figures(tally: Tally, kills: Sequence[Kill]) -> dict[str, Any]:
    """Calls and feedback as the users saw them; which of the failures a killed gateway explains."""
    outages_ms = outages([kill.time_ms for kill in kills if kill.role == "gateway"], tally.answered_ids)
    down = sum(any(start <= at_ms <= end for start, end in outages_ms) for at_ms, _ in tally.failures)
    return {
        "sent": tally.sent.total(),
        "answered": tally.answered.total(),
        "failed": tally.failed.total(),
        "failed_while_gateway_down": down,
        "failed_by_reason": dict(tally.failed),
        "gateway_down_s": [round((end - start) / 1000, 1) for start, end in outages_ms],
        "feedback_given": tally.feedback_given,
        "feedback_refused": tally.feedback_refused,
    }


def outages(kill_times_ms: Sequence[int], answered_ids: Sequence[str]) -> list[tuple[int, int]]:
    """From each kill of the gateway to the first call that it took afterwards (a call id holds its time)."""
    taken_ms = sorted(uuid7_time_ms(call_id) for call_id in answered_ids)
    found = []
    for kill_ms in kill_times_ms:
        later = taken_ms[bisect_right(taken_ms, kill_ms + DYING_MS) :]
        found.append((kill_ms, later[0] if later else kill_ms))
    return found


def alarm_figures(
    settings: Settings, fired: Sequence[ThresholdEvent], wait: Callable[[float], object]
) -> dict[str, Any]:
    """How many alarms fired, also of some kinds, and the share that explain themselves on the console. Blocks."""
    left = unexplained(settings, fired, wait)
    return {
        "alarms": len(fired),
        "alarms_explained": 1 - len(left) / len(fired) if fired else None,
        "alarms_unexplained": [f"{event.data.pipeline} {event.data.rule} {event.data.alarm_id}" for event in left],
        "drift_notices": sum(event.data.kind == "drift" for event in fired),
        "latency_alarms": sum(event.data.kind == "latency" for event in fired),
    }


def webhooks_received(settings: Settings) -> int:
    """Alerts that reached the demo's receiver; 0 where it does not answer."""
    url = f"http://127.0.0.1:{settings.port('receiver')}/alerts"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return len(json.load(answer))
    except (OSError, ValueError):
        return 0


def _traffic_given(outcome: Outcome) -> int:
    """When the candidate first answered clients (or the turn ended): until then the old champion served alone."""
    for each in outcome.rollout.stations if outcome.rollout is not None else ():
        if each.station == "canary":
            return each.started_ms
    return outcome.ended_ms
