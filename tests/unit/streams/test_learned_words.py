"""The detector that learns words: it keeps its promise, finds new topics made of known words, and goes on exactly."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np
import pytest

from streams.detectors.learned import LEAST, REFIT, LearnedWords, LearnedWordsState, Tokens, tokens
from streams.detectors.text_vectors import BUCKETS

TOPICS, VOCABULARY = 20, 400
_TOPIC_WORDS = [np.random.default_rng(topic).choice(VOCABULARY, 30, replace=False) for topic in range(TOPICS)]


def texts(rng: np.random.Generator, n: int, topics: range) -> list[Tokens]:
    """Calls of eight words: most of the topic's thirty, the rest of the whole vocabulary."""
    made = []
    for topic in rng.choice(topics, n):
        own, other = rng.choice(_TOPIC_WORDS[topic], 5), rng.integers(0, VOCABULARY, 3)
        made.append(np.unique(np.concatenate([own, other])))
    return made


def first_alarm(detector: LearnedWords, calls: list[Tokens]) -> int | None:
    for n, call in enumerate(calls, 1):
        detector.update(call)
        if detector.drift_detected:
            return n
    return None


def test_a_new_topic_made_of_known_words_is_found() -> None:
    rng = np.random.default_rng(1)
    detector = LearnedWords(texts(rng, 2_000, range(18)))
    assert first_alarm(detector, texts(rng, 1_000, range(18))) is None
    mixed = [
        call
        for pair in zip(texts(rng, 1_000, range(18)), texts(rng, 500, range(18, 20)) * 2, strict=True)
        for call in pair
    ]
    found = first_alarm(detector, mixed)
    assert found is not None and found <= 1_000
    new_words = {int(word) for topic in (18, 19) for word in _TOPIC_WORDS[topic]}
    assert len(new_words & set(detector.learned)) >= 8


def test_without_a_change_it_keeps_its_run_length() -> None:
    """Forty references and streams: within N / 4 updates at most a quarter alarms, by three standard errors."""
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng([7, seed])
        detector = LearnedWords(texts(rng, LEAST, range(TOPICS)), run_length=4_000)
        alarms += first_alarm(detector, texts(rng, 1_000, range(TOPICS))) is not None
    assert alarms / 40 <= 0.25 + 3 * (0.25 * 0.75 / 40) ** 0.5


@pytest.mark.parametrize("cut", [10, REFIT, REFIT + 7, 3 * REFIT + 100])
def test_it_goes_on_exactly(cut: int) -> None:
    rng = np.random.default_rng(3)
    reference, calls = texts(rng, LEAST, range(18)), texts(rng, 1_500, range(20))
    first, second = LearnedWords(reference), LearnedWords(reference)
    for call in calls[:cut]:
        first.update(call)
    packed = msgspec.msgpack.encode(first.snapshot())
    second.restore(msgspec.msgpack.decode(packed, type=LearnedWordsState))
    for call in calls[cut:]:
        first.update(call)
        second.update(call)
        assert (first.wealth, first.drift_detected) == (second.wealth, second.drift_detected)
    assert msgspec.msgpack.encode(first.snapshot()) == msgspec.msgpack.encode(second.snapshot())


def test_another_reference_and_a_small_one_are_refused() -> None:
    rng = np.random.default_rng(4)
    detector = LearnedWords(texts(rng, LEAST, range(TOPICS)))
    with pytest.raises(ValueError, match="start anew"):
        LearnedWords(texts(rng, LEAST, range(TOPICS))).restore(detector.snapshot())
    with pytest.raises(ValueError, match="needs 600 or more"):
        LearnedWords(texts(rng, LEAST - 1, range(TOPICS)))


def test_tokens_are_words_and_pairs_of_any_script() -> None:
    words = ["où", "est", "ma", "carte"]
    assert len(tokens("Où est ma carte?")) == len({*words, *map(" ".join, pairwise(words))})
    assert tokens("CARD card").tolist() == tokens("card, card!").tolist()
    assert len(tokens("")) == len(tokens("?!")) == 1
    assert all(0 <= bucket < BUCKETS for bucket in tokens("我的卡在哪里 12 карта"))
