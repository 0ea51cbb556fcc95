"""Novelty under watch: questions in the old ways are quiet; new topics made of known words are noticed."""

from __future__ import annotations

import random
from collections import Counter

import msgspec
import numpy as np
import pytest

from streams.detectors.drift import Drift
from streams.detectors.novelty import REFERENCE, Novelty
from streams.detectors.watch import Watch
from streams.windows.tally import Tally
from tests.unit.streams.test_drift_detector import Watched
from tidemill.metrics import NOVELTY
from tidemill.settings import DriftSettings
from tidemill.word_sets import word_set

SETTINGS = DriftSettings(metrics=(NOVELTY,))
TOPICS = [random.Random(topic).sample(range(250), 12) for topic in range(24)]
"""Words of each topic: all topics are made of the same 250 words."""


def windows(watched: Watched, n: int, new: float, champion: str = "p-v1") -> list[str]:
    """Feed n windows of 50 questions, of which a share is about the last 8 topics; what began or ended."""
    told = []
    for _ in range(n):
        sets = Counter(_question(watched.chance, new) for _ in range(50))
        told += watched.take(Tally(requests=50, sampled=50, word_sets=dict(sets)), champion, SETTINGS)
    return told


def _question(chance: random.Random, new: float) -> str:
    topics = TOPICS[16:] if chance.random() < new else TOPICS[:16]
    return word_set([*chance.sample(chance.choice(topics), 6), *chance.sample(range(250), 3)])


@pytest.mark.parametrize("seed", range(3))
def test_questions_of_the_old_topics_give_no_notice(seed: int) -> None:
    assert windows(Watched(seed), 400, 0.0) == []


def test_new_topics_in_known_words_are_noticed_and_the_notice_ends_with_them() -> None:
    watched = Watched(4)
    assert windows(watched, 80, 0.0) == []
    assert windows(watched, 40, 0.3) == [NOVELTY]
    assert windows(watched, 40, 0.0) == [f"-{NOVELTY}"]


def test_a_new_champion_brings_a_new_reference() -> None:
    watched = Watched(5)
    windows(watched, 80, 0.0)
    assert windows(watched, 40, 0.5) == [NOVELTY]
    assert windows(watched, 1, 0.5, champion="p-v2") == [f"-{NOVELTY}"]
    assert len(watched.drift.novelty.questions) == 50
    assert windows(watched, 200, 0.5, champion="p-v2") == []


def test_the_reference_is_the_first_questions_and_then_stands() -> None:
    novelty, first = Novelty(), word_set([1, 2])
    novelty.gather(Tally(word_sets={first: REFERENCE - 1}))
    assert novelty.figure(Tally(word_sets={first: 1})) is None
    novelty.gather(Tally(word_sets={word_set([3]): 7}))
    assert len(novelty.questions) == REFERENCE
    some = Tally(word_sets={first: 2, word_set([8]): 3})
    figure = novelty.figure(some)
    assert figure is not None and figure.n == 5
    assert figure.total == pytest.approx(3.0, abs=1e-6)
    assert novelty.figure(Tally()) is None
    novelty.gather(some)
    assert len(novelty.questions) == REFERENCE


def test_batches_of_questions_hold_no_more_than_they_need() -> None:
    watch, values = Watch(), np.arange(40.0)
    batches = [*watch.add_each(values, 1_000, 25), *watch.add_each(values, 2_000, 25)]
    assert batches == [(25, 12.0, 1_000), (25, 21.0, 1_000), (25, 22.0, 2_000)]
    assert watch.n == 5


def test_a_busy_window_of_questions_is_one_batch_and_the_next_ones_fill_one_each() -> None:
    watch = Watch()
    assert [batch.n for batch in watch.add_each(np.full(100, 0.5), 1_000, 25)] == [100]
    assert watch.size == 75
    assert [batch.n for _ in range(6) for batch in watch.add_each(np.full(75, 0.5), 1_000, 25)] == [75] * 6


def test_how_new_each_question_is_goes_with_the_figure() -> None:
    novelty = Novelty([word_set([1, 2])] * REFERENCE)
    figure = novelty.figure(Tally(word_sets={word_set([1, 2]): 2, word_set([8]): 3}))
    assert figure is not None and figure.each is not None
    assert np.repeat(*figure.each).tolist() == pytest.approx([0.0, 0.0, 1.0, 1.0, 1.0], abs=1e-6)
    assert figure.n == 5 and figure.value == pytest.approx(0.6)


@pytest.mark.parametrize("kept", [500, 970])
def test_a_reference_of_before_that_was_smaller_is_gathered_to_its_end_and_the_notice_ends(kept: int) -> None:
    watched = Watched(4)
    windows(watched, 80, 0.0)
    assert windows(watched, 40, 0.3) == [NOVELTY]
    del watched.drift.novelty.questions[kept:]
    assert windows(watched, 1, 0.3) == [f"-{NOVELTY}"]
    assert windows(watched, 10, 0.3) == []
    watch = watched.drift.watches[NOVELTY]
    assert watched.drift.novelty.whole and (watch.level is None) == (kept == 500)


@pytest.mark.parametrize("seed", range(2))
def test_a_notice_lasts_as_long_as_the_new_topics_do(seed: int) -> None:
    watched = Watched(seed)
    windows(watched, 80, 0.0)
    assert windows(watched, 200, 0.12) == [NOVELTY]
    assert windows(watched, 20, 0.0) == [f"-{NOVELTY}"]


def test_a_state_of_before_gathers_its_questions() -> None:
    known = msgspec.msgpack.decode(msgspec.msgpack.encode(Drift(champion="p-v1")))
    known.pop("novelty")
    watched = Watched(6)
    watched.drift = msgspec.convert(known, Drift)
    windows(watched, 3, 0.0)
    assert len(watched.drift.novelty.questions) == 150
