"""Drift: has what comes in, or what is answered, moved away from the reference?

Conservative by design: it informs, and starts no retraining by itself. Word metrics count only when they rise, all
others both ways. A notice resolves when its metric is back, or a new champion (trained on the new text) took over;
then a new reference is gathered.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from msgspec import Struct, field

from streams.alarms import Found
from streams.detectors import novelty
from streams.detectors.baseline import (
    BATCHES,
    Batch,
    Measured,
    against_each_other,
    joined_words,
    level_of,
    size_for,
    word_metric,
)
from streams.detectors.budget import Budget
from streams.detectors.languages import Languages
from streams.detectors.novelty import Novelty
from streams.detectors.season import Period
from streams.detectors.watch import SEASON_CHANGED, Watch, Where, dropped, judged
from streams.windows.figures import Figure, observed
from streams.windows.tally import Tally
from tidemill.metrics import LANGUAGE_MISMATCH, NOVELTY, WORD_METRICS
from tidemill.settings import DriftSettings


class Drift(Struct, omit_defaults=True):
    """The drift state of one pipeline."""

    champion: str = ""
    watches: dict[str, Watch] = field(default_factory=dict)
    gathered: list[Batch] = field(default_factory=list)
    """Whole batches of the words' reference, while it is gathered."""
    batch: Batch = field(default_factory=Batch)
    """Words that make no whole batch yet."""
    size: int = 0
    """Calls that make a batch of words, at least; it grows (``size_for``)."""
    reference: dict[int, int] = field(default_factory=dict)
    """Empty while it is gathered."""
    languages: Languages = field(default_factory=Languages)
    novelty: Novelty = field(default_factory=Novelty)
    season: Period | None = None
    """What the watches were made for."""

    @property
    def waiting(self) -> int:
        """Series without a verdict on their last batch, as too little is known of its hour."""
        return sum(watch.waits for watch in self.watches.values())

    def figures(self, tally: Tally) -> dict[str, Figure]:
        """The metrics of one window that compare with a reference; none while it is gathered."""
        found: dict[str, Figure] = {}
        if self.reference and tally.words:
            n = sum(tally.words.values())
            for metric in WORD_METRICS:
                value = word_metric(metric, tally.words, self.reference)
                if value is not None:
                    found[metric] = Figure(n, value * n, value * value * n, value)
        for metric, figure in (
            (LANGUAGE_MISMATCH, self.languages.figure(tally)),
            (NOVELTY, self.novelty.figure(tally)),
        ):
            if figure is not None:
                found[metric] = figure
        return found

    def judge(
        self,
        tally: Tally,
        compared: Mapping[str, Figure],
        champion: str | None,
        settings: DriftSettings,
        budget: Budget,
        where: Where,
    ) -> list[tuple[str, Found]]:
        """Take in one closed, complete window of the clients' calls; give back what begins or ends, by metric.

        ``compared``: its ``figures``, which cost too much to be worked out twice.
        ``champion`` is the version most client answers of the window came from, None where there were none.
        ``where``: the window; its metric says nothing.
        """
        watched = settings.metrics if settings.enabled else ()
        said = self._drop(set(self.watches) - set(watched), budget, where)
        if not watched:
            return [(metric, found) for metric, found in said if found]
        if self.season != where.season:
            compared = {}
            said += self._start_anew(SEASON_CHANGED, where)
            for watch in self.watches.values():
                watch.hours = b""
            self.season = where.season
        if champion is not None and champion != self.champion:
            compared = {}
            if self.champion:
                said += self._start_anew(f"{champion} became champion; a new reference is gathered", where)
            self.champion = champion
        least = math.ceil(settings.reference_calls / BATCHES)
        for metric in watched:
            if metric == NOVELTY:
                said += self._take_questions(tally, compared.get(metric), least, budget, where)
            elif metric not in WORD_METRICS and (sums := self._observed(metric, tally, compared, settings)) is not None:
                watch = self.watches.setdefault(metric, Watch())
                full = watch.add(*sums, where.start_ms, least)
                if full is not None:
                    said.append((metric, judged(watch, full, budget, where._replace(metric=metric))))
        words = [metric for metric in watched if metric in WORD_METRICS]
        if words and tally.sampled:
            said += self._take_words(tally, words, least, budget, where)
        return [(metric, found) for metric, found in said if found]

    def _observed(
        self, metric: str, tally: Tally, compared: Mapping[str, Figure], settings: DriftSettings
    ) -> tuple[int, float] | None:
        if metric == LANGUAGE_MISMATCH:
            self.languages.gather(tally, settings.reference_calls)
        else:
            return observed(metric, tally)
        figure = compared.get(metric)
        return figure and (figure.n, figure.total)

    def _take_questions(
        self, tally: Tally, figure: Figure | None, least: int, budget: Budget, where: Where
    ) -> list[tuple[str, Found]]:
        where, was_whole = where._replace(metric=NOVELTY), self.novelty.whole
        watch = self.watches.setdefault(NOVELTY, Watch())
        self.novelty.gather(tally)
        if not was_whole:  # what a watch of an earlier version knows is of a smaller reference
            said = watch.close(where, "a larger reference is gathered")
            watch.begin()
            watch.hours = b""
            return [(NOVELTY, said)]
        if figure is None or figure.each is None:
            return []
        by_chance = np.random.default_rng(where.start_ms).permutation(np.repeat(*figure.each))
        batches = watch.add_each(by_chance, where.start_ms, max(least, novelty.BATCH))
        return [(NOVELTY, judged(watch, full, budget, where)) for full in batches]

    def _take_words(
        self, tally: Tally, words: list[str], least: int, budget: Budget, where: Where
    ) -> list[tuple[str, Found]]:
        size = max(self.size, least)
        grown, added = size_for(size, tally.sampled), self.reference and not self.watches.keys() >= set(words)
        if (grown > size or added) and not any(self.watches[m].alarm for m in words if m in self.watches):
            self._forget_words()
            if grown > size:
                self.size = size = grown
        self.batch.add(tally, where.start_ms)
        if self.batch.calls < size:
            return []
        batch, self.batch = self.batch, Batch()
        if not self.reference:
            self._gather(batch, words, where)
            return []
        said = []
        n = sum(batch.words.values())
        for metric in words:
            value = batch.value(metric, self.reference)
            watch = self.watches.get(metric)
            if value is not None and watch is not None and watch.level is not None:
                full = Measured(n, value, batch.start_ms)
                said.append((metric, judged(watch, full, budget, where._replace(metric=metric))))
        return said

    def _gather(self, batch: Batch, words: list[str], where: Where) -> None:
        self.gathered.append(batch)
        if len(self.gathered) < BATCHES:
            return
        self.reference = joined_words(self.gathered)
        for metric, found in against_each_other(self.gathered, words).items():
            watch = self.watches.setdefault(metric, Watch())
            watch.settle(level_of(found), found, where._replace(metric=metric))
        self.gathered = []

    def _drop(self, metrics: set[str], budget: Budget, where: Where) -> list[tuple[str, Found]]:
        said = []
        for metric in sorted(metrics):
            said.append((metric, dropped(self.watches.pop(metric), budget, where._replace(metric=metric))))
        return said

    def _start_anew(self, reason: str, where: Where) -> list[tuple[str, Found]]:
        said = []
        for metric, watch in sorted(self.watches.items()):
            said.append((metric, watch.close(where._replace(metric=metric), reason)))
            watch.begin()
        self._forget_words()
        self.size = 0
        self.languages, self.novelty = Languages(), Novelty()
        for metric in (LANGUAGE_MISMATCH, NOVELTY):
            if (watched := self.watches.get(metric)) is not None:
                watched.hours = b""  # they compared with another reference
        return said

    def _forget_words(self) -> None:
        self.gathered, self.batch, self.reference = [], Batch(), {}
        for metric in WORD_METRICS:
            if (watch := self.watches.get(metric)) is not None:
                watch.begin()
