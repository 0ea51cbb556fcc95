"""Algebra of stage 2: replay is idempotent, order across partitions does not matter, a restart changes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from streams.partition import PartitionFold
from tests.unit.streams.drawing import Meter, answers, deployment, requests, score
from tidemill.events import Partial, Progress, ThresholdEvent, Window

PARTITIONS = (0, 1, 2)
DEPLOYMENT = deployment(
    lateness_s=20,
    rules=[{"name": "errors", "metric": "error_rate", "above": 0.3, "for_windows": 1, "min_count": 1}],
    quality={"recover_scores": 10},
    drift={"reference_calls": 20},
)
Message = Partial | Progress


@st.composite
def stories(draw: st.DrawFn) -> list[list[Message]]:
    """Rounds: the partials of each partition, then the progress of the meter that read them."""
    meter, rounds = Meter(), []
    for second in range(0, 60, draw(st.integers(2, 6))):
        said: list[Message] = []
        for partition in draw(st.sets(st.sampled_from(PARTITIONS))):
            late = draw(st.integers(0, 25))
            n = draw(st.integers(1, 20))
            cells = [
                requests(max(0, second - late), n, chars=[float(n)] * n, words={n: n}),
                answers(max(0, second - late), [float(n)] * n, errors=draw(st.integers(0, n))),
            ]
            scores = [
                score(second + i / 30, float(second < 30), feedback_id=f"{second}-{partition}-{i}") for i in range(n)
            ]
            said.append(meter.partial(cells, scores, partition))
        said.append(meter.progress(second + 2, partitions=PARTITIONS))
        rounds.append(said)
    rounds.append([meter.progress(90, partitions=PARTITIONS)])
    return rounds


def play(fold: PartitionFold, messages: Sequence[Message]) -> tuple[list[Window], list[ThresholdEvent]]:
    windows, events = [], []
    for message in messages:
        out = fold.take(message)
        windows += out.windows
        events += out.events
    return windows, events


def flat(rounds: Sequence[Sequence[Message]]) -> list[Message]:
    return [message for said in rounds for message in said]


@given(stories(), st.data())
def test_reading_any_prefix_again_changes_nothing(rounds: list[list[Message]], data: st.DataObject) -> None:
    told = flat(rounds)
    at = data.draw(st.integers(0, len(told)))
    again = data.draw(st.integers(0, at))
    fold = PartitionFold(DEPLOYMENT, {})
    first = play(fold, told[:at])
    repeated = play(fold, told[again:at])
    rest = play(fold, told[at:])
    assert repeated == ([], [])
    assert (first[0] + rest[0], first[1] + rest[1]) == play(PartitionFold(DEPLOYMENT, {}), told)


@given(stories(), st.data())
def test_a_restart_from_the_last_written_state_changes_nothing(
    rounds: list[list[Message]], data: st.DataObject
) -> None:
    """Killed after a write, with everything since some earlier message read again."""
    told = flat(rounds)
    at = data.draw(st.integers(0, len(told)))
    again = data.draw(st.integers(0, at))
    fold = PartitionFold(DEPLOYMENT, {})
    states: dict[str, bytes] = {}
    windows: list[Window] = []
    events: list[ThresholdEvent] = []
    for message in told[:at]:
        out = fold.take(message)
        windows += out.windows
        events += out.events
        states |= fold.changed()
    rest = play(PartitionFold(DEPLOYMENT, states), told[again:])
    assert (windows + rest[0], events + rest[1]) == play(PartitionFold(DEPLOYMENT, {}), told)


@given(stories(), st.randoms(use_true_random=False))
def test_order_across_partitions_does_not_matter(rounds: list[list[Message]], chance: object) -> None:
    mixed = [list(said) for said in rounds]
    for said in mixed:
        partials = said[:-1]
        chance.shuffle(partials)  # type: ignore[attr-defined]
        said[:-1] = partials
    ours, theirs = (play(PartitionFold(DEPLOYMENT, {}), flat(r)) for r in (rounds, mixed))
    assert sorted(map(repr, ours[0])) == sorted(map(repr, theirs[0]))
    assert ours[1] == theirs[1]
