"""Algebra of stage 2: replay is idempotent, order across partitions does not matter, a restart changes nothing, and no
state is larger than it says."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.partition import HEAD
from streams.windows.bucket import Bucket
from streams.windows.state import Windows
from tests.unit.streams.drawing import START_S, Meter, Reader, answers, deployment, of_slice, requests, score
from tidemill.events import Partial, Progress, ThresholdEvent, Window
from tidemill.word_sets import word_set

PARTITIONS = (0, 1, 2)
MIDNIGHT_S = 86_400 - START_S % 86_400
DEPLOYMENT = deployment(
    lateness_s=7,
    rules=[
        {"name": "errors", "metric": "error_rate", "above": 0.3, "for_windows": 1, "min_count": 1},
        {"name": "unheard", "metric": "e2e_ms", "above": 15, "leave": 9, "keep_firing_windows": 1, "no_data": "alert"},
        {"name": "unseen", "metric": "input_chars", "below": 7, "for_windows": 1, "min_count": 5, "no_data": "ok"},
        {"name": "theirs", "metric": "error_rate", "above": 0.3, "slice": "tenant=t1", "min_count": 1},
    ],
    objectives=[{"name": "answered", "metric": "error_rate", "target": 0.94, "min_count": 1}],
    budgets=[
        {"name": "day", "max_usd_per_day": 0.002, "shares": [0.5, 1, 2]},
        {"name": "own", "max_usd_per_day": 0.001, "each": "tenant"},
    ],
    slices=["tenant"],
    max_slices=3,
    quality={"recover_scores": 40},
    drift={"reference_calls": 20},
)
Message = Partial | Progress


@st.composite
def stories(draw: st.DrawFn) -> list[list[Message]]:
    """Rounds: the partials of each partition, then the progress of the meter that read them."""
    meters, rounds = [Meter(), Meter("support")], []
    begin = draw(st.sampled_from([0, MIDNIGHT_S - 40]))
    for second in range(begin, begin + 60, draw(st.integers(2, 6))):
        said: list[Message] = []
        for partition, number in sorted(draw(st.sets(st.tuples(st.sampled_from(PARTITIONS), st.integers(0, 1))))):
            meter = meters[number]
            late = draw(st.integers(0, 25))
            n = draw(st.integers(1, 20))
            cells = [
                requests(
                    max(0, second - late),
                    n,
                    chars=[float(n)] * n,
                    words={n: n},
                    languages=spoken(n),
                    word_sets={word_set([n]): n},
                ),
                answers(
                    max(0, second - late), [float(n)] * n, errors=draw(st.integers(0, n)), cost_micros=n * 7, priced=n
                ),
            ]
            scores = [
                score(second + i / 30, float(second < begin + 30), feedback_id=f"{second}-{partition}-{i}")
                for i in range(n)
            ]
            tenant = draw(st.sampled_from(["t1", "t2", "t3"]))
            said.append(meter.partial(cells, scores, partition, [of_slice(f"tenant={tenant}", cell) for cell in cells]))
        said.append(meters[0].progress(second + 2, partitions=PARTITIONS))
        rounds.append(said)
    rounds.append([meters[0].progress(begin + 90, partitions=PARTITIONS)])
    return rounds


def spoken(n: int) -> dict[str, int]:
    return {language: n // part for language, part in (("en", 1), ("de", 2), ("fr", 3)) if n >= part}


def play(reader: Reader, messages: Sequence[Message]) -> tuple[list[Window], list[ThresholdEvent]]:
    out = reader.take(*messages)
    return out.windows, out.events


def flat(rounds: Sequence[Sequence[Message]]) -> list[Message]:
    return [message for said in rounds for message in said]


@given(stories(), st.data())
def test_ranges_that_a_meter_says_again_change_nothing(rounds: list[list[Message]], data: st.DataObject) -> None:
    """A meter that died before its commit says a range again; so does one that was fenced meanwhile."""
    told = flat(rounds)
    at = data.draw(st.integers(0, len(told)))
    again = [message for message in told[:at] if isinstance(message, Partial)]
    assert play(Reader(DEPLOYMENT), [*told[:at], *again, *told[at:]]) == play(Reader(DEPLOYMENT), told)


@given(stories(), st.data())
def test_a_restart_from_any_checkpoint_gives_the_same_outputs(rounds: list[list[Message]], data: st.DataObject) -> None:
    """Killed while it wrote the second of two checkpoints: some states are of this one, the others of the first, and
    everything since some message before the first is read again.
    """
    told = flat(rounds)
    first = data.draw(st.integers(0, len(told)))
    second = data.draw(st.integers(first, len(told)))
    begin = data.draw(st.integers(0, first))
    reader = Reader(DEPLOYMENT)
    play(reader, told[:first])
    states = dict(reader.fold.changed())
    said = play(reader, told[first:second])
    newer = dict(reader.fold.changed())
    written = data.draw(st.sets(st.sampled_from(sorted(newer.keys() - {HEAD}) or [HEAD])))
    if data.draw(st.booleans()):
        written = set(newer)
    mixed = states | {name: newer[name] for name in written if name != HEAD or written == set(newer)}
    known = second if HEAD in written and written == set(newer) else first
    replayed = play(Reader(DEPLOYMENT, mixed, begin), told[begin:])
    clean = Reader(DEPLOYMENT)
    play(clean, told[:known])
    rest = play(clean, told[known:])
    assert set(map(repr, replayed[0])) <= set(map(repr, rest[0]))
    assert set(map(repr, rest[0])) <= set(map(repr, [*said[0], *replayed[0]]))
    assert {e.id for e in rest[1]} == {e.id for e in [*replayed[1], *(said[1] if known == first else [])]}
    assert {repr(e) for e in replayed[1]} <= {repr(e) for e in rest[1]}


@given(stories())
def test_no_state_is_larger_than_it_says(rounds: list[list[Message]]) -> None:
    reader = Reader(DEPLOYMENT)
    for message in flat(rounds):
        reader.take(message)
        for pipeline in reader.fold:
            windows = pipeline.windows
            assert len(msgspec.msgpack.encode(windows)) <= windows.weight + len(msgspec.msgpack.encode(_bare(windows)))
            assert windows.weight == weighed(windows)


def _bare(windows: Windows) -> Windows:
    return Windows(
        applied=windows.applied,
        next_ms=windows.next_ms,
        newest_ms=windows.newest_ms,
        too_late=windows.too_late,
        ahead=windows.ahead,
        dimensions=windows.dimensions,
    )


def weighed(windows: Windows) -> int:
    """What the weight must be, counted anew."""
    closed = sum(len(raw) + Bucket().weight for raw in windows.closed.values())
    return sum(bucket.weight for bucket in windows.buckets.values()) + closed


@given(stories(), st.randoms(use_true_random=False))
def test_order_across_partitions_does_not_matter(rounds: list[list[Message]], chance: object) -> None:
    mixed = [list(said) for said in rounds]
    for said in mixed:
        partials = said[:-1]
        chance.shuffle(partials)  # type: ignore[attr-defined]
        said[:-1] = partials
    ours, theirs = (play(Reader(DEPLOYMENT), flat(r)) for r in (rounds, mixed))
    assert sorted(map(repr, ours[0])) == sorted(map(repr, theirs[0]))
    assert sorted(map(repr, ours[1])) == sorted(map(repr, theirs[1]))
