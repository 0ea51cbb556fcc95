"""Whatever the past and the policy: a replay is repeatable, starts one thing at a time, and never loses by healing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from retrain.replay import report
from retrain.replay.falls import measured
from retrain.replay.history import Calls, History
from retrain.replay.run import run
from retrain.replay.world import World
from tests.unit.retrain_replay.made import TURN, detector, past, policy
from tidemill.settings import PipelineSettings

LATER = 12_345_678


@st.composite
def pasts(draw: st.DrawFn) -> History:
    """Stretches of quality, some of which end with another version."""
    stretches = draw(
        st.lists(
            st.tuples(st.integers(40, 400), st.sampled_from([0.95, 0.9, 0.8, 0.5, 0.1]), st.booleans()), max_size=6
        )
    )
    chances, version = [(0.95, "v1")] * 200, 1
    for seconds, chance, another in stretches:
        version += another
        chances += [(chance, f"v{version}")] * seconds
    return past(chances.__getitem__, len(chances), seed=draw(st.integers(0, 9)), labels_from=draw(st.integers(0, 600)))


@st.composite
def policies(draw: st.DrawFn) -> PipelineSettings:
    return policy(
        enabled=draw(st.integers(0, 5)) > 0,
        min_fresh_labels=draw(st.integers(10, 300)),
        floor_labels=draw(st.integers(10, 100)),
        collect_deadline_s=draw(st.integers(10, 600)),
        cooldown_s=draw(st.integers(0, 600)),
        max_attempts=draw(st.integers(1, 4)),
    )


def replayed(history: History, settings: PipelineSettings) -> report.Result:
    done, world = run(history, settings, measured(history, 0.1), TURN, detector(settings))
    return report.replayed("p", history, done, world, TURN, 1.0)


@given(pasts(), policies())
def test_counts_and_losses_stay_within_what_they_can_be(history: History, settings: PipelineSettings) -> None:
    found = replayed(history, settings)
    assert found == replayed(history, settings), "the same past and policy give the same result"
    assert 0 <= found.false_triggers <= found.triggers and 0 <= found.missed <= found.falls
    assert found.triggers - found.false_triggers == found.falls - found.missed, "each fall is answered once at most"
    assert found.loss is not None and found.loss_assumed is not None and found.loss_avoided is not None
    assert 0 <= found.loss_assumed <= found.loss + 1e-6
    assert found.loss_avoided >= -1e-6
    untreated = World(measured(history, 0.1)).loss(history.calls)[0]
    assert abs(found.loss + found.loss_avoided - untreated) < 1e-6
    if not settings.retrain.enabled:
        assert (found.triggers, found.loss) == (0, untreated)


@given(pasts(), policies())
def test_one_training_at_a_time_and_a_cool_down_between(history: History, settings: PipelineSettings) -> None:
    found = replayed(history, settings)
    least = TURN.train_ms + settings.retrain.cooldown_s * 1000
    assert all(later - earlier >= least for earlier, later in pairwise(found.trigger_times_ms))
    for answer in found.answers:
        assert answer.trigger_ms is None or answer.trigger_ms >= answer.start_ms
        if answer.takeover_ms is not None:
            assert answer.trigger_ms is not None
            assert answer.takeover_ms == answer.trigger_ms + TURN.train_ms + TURN.takeover_ms


@given(pasts(), policies())
def test_the_same_past_at_another_time_gives_the_same(history: History, settings: PipelineSettings) -> None:
    moved = replace(
        history,
        since_ms=history.since_ms + LATER,
        until_ms=history.until_ms + LATER,
        scores=[
            msgspec.structs.replace(p, time_ms=p.time_ms + LATER, call_time_ms=p.call_time_ms + LATER)
            for p in history.scores
        ],
        labels=[
            each._replace(time_ms=each.time_ms + LATER, call_time_ms=each.call_time_ms + LATER)
            for each in history.labels
        ],
        calls=Calls([(start + LATER, end + LATER, n) for start, end, n in history.calls.windows]),
    )
    here, there = replayed(history, settings), replayed(moved, settings)
    assert [time_ms + LATER for time_ms in here.trigger_times_ms] == list(there.trigger_times_ms)
    for name in ("alarms", "false_alarms", "falls", "missed", "given_up", "alarm_delay_s", "trigger_delay_s"):
        assert getattr(here, name) == getattr(there, name)
    assert here.loss is not None and there.loss is not None and abs(here.loss - there.loss) < 1e-3


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.integers(0, 100)), max_size=20), st.data())
def test_calls_add_up(gaps: list[tuple[int, int, int]], data: st.DataObject) -> None:
    windows, at = [], 0
    for gap, length, answers in gaps:
        windows.append((at + gap, at + gap + length, answers))
        at += gap + length
    calls = Calls(windows)
    a, b, c = sorted(data.draw(st.integers(-10, at + 10)) for _ in range(3))
    assert abs(calls.between(a, b) + calls.between(b, c) - calls.between(a, c)) < 1e-9
    assert abs(calls.between(-10, at + 10) - sum(answers for _, _, answers in windows)) < 1e-9
