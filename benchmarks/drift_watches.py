"""How text is watched: ours on one budget, with slices or without, and what a call looks like to a detector."""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.drift_corpus import SLICES, Call, Corpus
from streams.detectors.budget import Budget, Series
from streams.detectors.conformal import Conformal
from streams.detectors.e_bh import changed
from streams.detectors.learned import LearnedWords, Tokens, tokens
from streams.detectors.text_vectors import TextVectors
from streams.detectors.two_sample import Look, TwoSample
from streams.detectors.words import distance, unseen_share
from tidemill.text import word_buckets

RUN_LENGTH = 10_000
"""At most one false alarm in so many calls: one call is one update of the clock."""
SCALARS = ("chars", "unseen", "word_length", "novelty")
WORDS = ("word_distance", "word_unseen_share")
METRICS = ("vector", "learned_words", *SCALARS, *WORDS)
BATCH = 50
"""Calls whose words are counted together for the metrics of WORDS."""
PIPELINE = "bank"


class Seen(NamedTuple):
    """One call as detectors see it."""

    call: Call
    vector: NDArray[np.float64]
    look: Look
    scalars: tuple[float, ...]
    """In the order of SCALARS."""


class Features:
    """Turns calls into what is watched."""

    def __init__(self, texts: Corpus, seed: int) -> None:
        self._vectors = TextVectors(texts.vocabulary, seed)
        self.reference = np.array([self._vectors.of(text).vector for text in texts.reference])
        self.two_sample = TwoSample(self.reference, RUN_LENGTH, seed=seed)
        self.tokens: list[Tokens] = [tokens(text) for text in texts.reference]
        self.words = word_buckets(texts.reference)

    def of(self, call: Call) -> Seen:
        """One call's."""
        found = self._vectors.of(call.text)
        look = self.two_sample.look(found.vector)
        return Seen(call, found.vector, look, (found.chars, found.unseen, found.word_length, look.nearest))


class Ours:
    """Every metric of every slice has a detector; all share one budget."""

    def __init__(self, features: Features, seed: int, slices: tuple[str, ...] = SLICES) -> None:
        self.budget = Budget(RUN_LENGTH)
        self._reference_words = features.words
        self._two_sample = {name: features.two_sample.another() for name in slices}
        self._learned = {name: LearnedWords(features.tokens, RUN_LENGTH) for name in slices}
        self._conformal: dict[Series, Conformal] = {}
        self._words: dict[str, Counter[int]] = {name: Counter() for name in slices}
        self._counted = dict.fromkeys(slices, 0)
        for name in slices:
            for metric in METRICS:
                self.budget.admit(Series(PIPELINE, metric, name))
            for metric in (*SCALARS, *WORDS):
                chance = 1_000 * seed + len(self._conformal)
                self._conformal[Series(PIPELINE, metric, name)] = Conformal(RUN_LENGTH, seed=chance)

    @property
    def series(self) -> int:
        """K."""
        return self.budget.spend.series

    def update(self, seen: Seen) -> list[Series]:
        """The series that alarmed."""
        self.budget.tick()
        words, found = tokens(seen.call.text), word_buckets([seen.call.text])
        alarmed: list[Series] = []
        for name in seen.call.slices:
            if name in self._two_sample:
                series, vector = Series(PIPELINE, "vector", name), self._two_sample[name]
                vector.bet(seen.look, self.budget.grant(series))
                self._told(series, vector, alarmed)
                self._update(self._learned[name], Series(PIPELINE, "learned_words", name), words, alarmed)
                for metric, value in zip(SCALARS, seen.scalars, strict=True):
                    self._rank(Series(PIPELINE, metric, name), value, alarmed)
                self._count(name, found, alarmed)
        return alarmed

    def changed(self) -> list[Series]:
        """Which series have changed, all judged together."""
        return changed(self.wealth(), RUN_LENGTH)

    def wealth(self) -> dict[Series, float]:
        """Of every series, after the last call."""
        wealth = {series: detector.wealth for series, detector in self._conformal.items()}
        wealth |= {Series(PIPELINE, "vector", name): detector.wealth for name, detector in self._two_sample.items()}
        wealth |= {Series(PIPELINE, "learned_words", name): detector.wealth for name, detector in self._learned.items()}
        return wealth

    def state_bytes(self) -> int:
        """Of all detectors, as a snapshot; the reference is not in it."""
        parts: list[Any] = [*self._conformal.values(), *self._two_sample.values(), *self._learned.values(), self.budget]
        return sum(len(msgspec.msgpack.encode(part.snapshot())) for part in parts)

    def _rank(self, series: Series, value: float, alarmed: list[Series]) -> None:
        self._update(self._conformal[series], series, value, alarmed)

    def _update(self, detector: Any, series: Series, value: Any, alarmed: list[Series]) -> None:
        detector.update(value, self.budget.grant(series))
        self._told(series, detector, alarmed)

    def _told(self, series: Series, detector: Any, alarmed: list[Series]) -> None:
        if detector.drift_detected:
            self.budget.alarmed(series)
            alarmed.append(series)

    def _count(self, name: str, found: dict[int, int], alarmed: list[Series]) -> None:
        """Word metrics: of a batch of the slice's calls, against the words of the reference."""
        self._words[name].update(found)
        self._counted[name] += 1
        if self._counted[name] < BATCH:
            return
        words, self._words[name], self._counted[name] = self._words[name], Counter(), 0
        for metric, value in (
            ("word_distance", distance(words, self._reference_words)),
            ("word_unseen_share", unseen_share(words, self._reference_words)),
        ):
            if value is not None:
                self._rank(Series(PIPELINE, metric, name), value, alarmed)
