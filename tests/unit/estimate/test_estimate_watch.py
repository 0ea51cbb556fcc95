"""One version's estimate against a store that holds rows: what is learned when, and what of it is said."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from streams.detectors.baseline import BATCHES
from streams.estimate.main import rows_of
from streams.estimate.usual import BATCH_CALLS, Usual
from streams.estimate.watch import MOST_LABELS, Watched
from tidemill.events import Arm, Route

REFERENCE = BATCHES * BATCH_CALLS
NOW_MS = 10_000_000


class Rows:
    """Answers the two queries from lists, as the store does: in order, from ``since`` on, ``most`` of them."""

    def __init__(self) -> None:
        self.labels: list[dict[str, Any]] = []
        self.calls: list[dict[str, Any]] = []

    def rows(self, query: str, asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        if "feedback_id" in query:
            return [row for row in self.labels if asked["since"] <= row["time_ms"] < asked["until"]][: asked["most"]]
        return self.calls[: asked["most"]]


def words(chance: random.Random, first: int = 0) -> dict[int, int]:
    return {first + chance.randrange(60): 1 for _ in range(12)}


def label(n: int, chance: random.Random, *, first: int = 0) -> dict[str, Any]:
    sure = chance.random() < 0.8
    return {
        "feedback_id": f"f{n}",
        "time_ms": 1_000_000 + n * 500,
        "score": float(chance.random() < (0.95 if sure else 0.3)),
        "mean_logprob": -0.01 if sure else -1.0,
        "agreement": None,
        "words": words(chance, first),
        "known": True,
    }


def watched(rows: Rows, n: int) -> Watched:
    chance = random.Random(7)
    rows.labels += [label(i, chance) for i in range(n)]
    return Watched("schedule", "schedule-v1", "exact_match", ("audit",), 0)


def calls(n: int, sure_share: float, first: int = 0) -> list[dict[str, Any]]:
    chance = random.Random(3)
    return [
        {"mean_logprob": -0.01 if i < n * sure_share else -1.0, "agreement": None, "words": words(chance, first)}
        for i in range(n)
    ]


def test_a_harder_mix_of_calls_is_estimated_lower() -> None:
    rows = Rows()
    known = watched(rows, 1_000)
    assert not known.learn(rows.rows, NOW_MS)
    rows.calls = calls(400, 0.8)
    usual = known.judge(rows.rows, 0, 1)
    rows.calls = calls(400, 0.2)
    harder = known.judge(rows.rows, 0, 1)
    assert usual.value == pytest.approx(0.95 * 0.8 + 0.3 * 0.2, abs=0.05)
    assert harder.value == pytest.approx(0.95 * 0.2 + 0.3 * 0.8, abs=0.08)
    assert harder.low is not None and harder.low < 0.43 < (harder.high or 0)


def test_second_answers_that_disagree_lower_the_estimate() -> None:
    rows = Rows()
    known = watched(rows, 1_000)
    for row in rows.labels:
        row |= {"mean_logprob": -0.01, "agreement": row["score"]}
    known.learn(rows.rows, NOW_MS)
    rows.calls = [row | {"mean_logprob": -0.01, "agreement": float(n % 4 == 0)} for n, row in enumerate(calls(400, 1))]
    assert known.judge(rows.rows, 0, 1).value == pytest.approx(0.25, abs=0.01)
    rows.calls = [row | {"agreement": None} for row in rows.calls]
    assert known.judge(rows.rows, 0, 1).value == pytest.approx(0.82, abs=0.03), "without any: as labels are on average"


def test_words_that_nobody_labelled_allow_any_lower_quality() -> None:
    rows = Rows()
    known = watched(rows, 1_000)
    known.learn(rows.rows, NOW_MS)
    rows.calls = calls(400, 0.8, first=500)
    found = known.judge(rows.rows, 0, 1)
    assert found.unconfirmed == 1.0 and found.low == 0.0


def test_each_label_is_learned_once_however_often_the_store_gives_it() -> None:
    rows = Rows()
    known = watched(rows, 500)
    for _ in range(3):
        known.learn(rows.rows, NOW_MS)
    rows.calls = calls(100, 0.8)
    assert known.judge(rows.rows, 0, 1).labels == 500
    chance = random.Random(8)
    rows.labels += [label(i, chance) for i in range(500, 530)]
    known.learn(rows.rows, NOW_MS)
    assert known.judge(rows.rows, 0, 1).labels == 525, "five wait until their batch is full"


def test_a_label_of_next_year_hides_none_of_today() -> None:
    rows = Rows()
    known = watched(rows, 500)
    rows.labels[400]["time_ms"] = NOW_MS * 1_000
    rows.labels.sort(key=lambda row: int(row["time_ms"]))
    known.learn(rows.rows, NOW_MS)
    chance = random.Random(8)
    rows.labels[-1:] = [*(label(i, chance) for i in range(500, 526)), rows.labels[-1]]
    known.learn(rows.rows, NOW_MS)
    rows.calls = calls(100, 0.8)
    assert known.judge(rows.rows, 0, 1).labels == 525


@pytest.mark.parametrize("apart_ms", [500, 1])
def test_labels_whose_calls_have_expired_hold_up_none_of_the_others(apart_ms: int) -> None:
    rows = Rows()
    known = watched(rows, 500)
    first_ms = rows.labels[0]["time_ms"] - 8_000_000
    gone: dict[str, Any] = {"score": 1.0, "mean_logprob": None, "agreement": None, "words": {}, "known": False}
    rows.labels[:0] = [
        gone | {"feedback_id": f"gone{n}", "time_ms": first_ms + n * apart_ms} for n in range(2 * MOST_LABELS + 10)
    ]
    while known.learn(rows.rows, NOW_MS):
        pass
    rows.calls = calls(100, 0.8)
    assert known.judge(rows.rows, 0, 1).labels == 500


def test_a_label_that_lands_before_its_call_is_learned_when_that_has_landed() -> None:
    rows = Rows()
    known = watched(rows, 525)
    for row in rows.labels[500:]:
        row["known"] = False
    known.learn(rows.rows, NOW_MS)
    for row in rows.labels[500:]:
        row["known"] = True
    known.learn(rows.rows, NOW_MS)
    rows.calls = calls(100, 0.8)
    assert known.judge(rows.rows, 0, 1).labels == 525


def test_many_labels_are_taken_in_pieces() -> None:
    rows = Rows()
    known = watched(rows, MOST_LABELS + 100)
    assert known.learn(rows.rows, NOW_MS)
    assert not known.learn(rows.rows, NOW_MS)
    rows.calls = calls(100, 0.8)
    assert known.judge(rows.rows, 0, 1).labels == MOST_LABELS + 100


def test_learning_in_pieces_or_at_once_is_the_same() -> None:
    whole, pieces = Rows(), Rows()
    at_once = watched(whole, 700)
    at_once.learn(whole.rows, NOW_MS)
    step = Watched("schedule", "schedule-v1", "exact_match", ("audit",), 0)
    for n in range(100, 701, 100):
        pieces.labels = whole.labels[:n]
        step.learn(pieces.rows, NOW_MS)
    for rows in (whole, pieces):
        rows.calls = calls(200, 0.5)
    assert at_once.judge(whole.rows, 0, 1) == step.judge(pieces.rows, 0, 1)


def test_text_is_off_only_once_the_usual_is_known() -> None:
    usual, chance = Usual(), random.Random(1)
    texts = [words(chance) for _ in range(REFERENCE + 10 * BATCH_CALLS)]
    assert usual.off(texts[:100]) == [None] * 100
    for at in range(0, REFERENCE, BATCH_CALLS):
        assert usual.batch(texts[at : at + BATCH_CALLS]) is None
    later = [z for z in usual.off(texts[REFERENCE:]) if z is not None]
    assert len(later) == 10 * BATCH_CALLS and sum(z < 2 for z in later) > len(later) * 0.7
    assert usual.off(texts[: BATCH_CALLS - 1]) == [None] * (BATCH_CALLS - 1)
    new = usual.off([words(chance, 500) for _ in range(BATCH_CALLS + 3)])
    assert len(new) == BATCH_CALLS + 3 and all(z is not None and z > 4 for z in new)


def test_the_rows_say_the_estimate_and_its_interval() -> None:
    rows = Rows()
    known = watched(rows, 1_000)
    known.learn(rows.rows, NOW_MS)
    rows.calls = calls(400, 0.8)
    found = known.judge(rows.rows, 0, 1)
    said = {row.metric: row for row in rows_of("schedule", "schedule-v1", found, 30_000, 60_000, 66_000)}
    assert said["quality_estimate"].value == found.value
    assert (said["quality_estimate_low"].value, said["quality_estimate_high"].value) == (found.low, found.high)
    assert {(row.n, row.unit, row.model_version, row.start_ms, row.end_ms) for row in said.values()} == {
        (400, "score", "schedule-v1", 30_000, 60_000)
    }


def test_the_champion_of_a_route() -> None:
    arms = (
        Arm(variant="canary", model_version="s-v2", model="b", engine="local", weight=60),
        Arm(variant="champion", model_version="s-v1", model="a", engine="local", weight=40),
    )
    assert Route(pipeline="s", epoch=1, time_ms=1, arms=arms).champion.model_version == "s-v1"
