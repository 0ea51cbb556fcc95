"""Text drift on BANKING77, real questions to a bank: ours on one budget, beside tests without one.

Traffic is drawn from 39 of the 77 intents; the reference is other questions of the same intents. From some call on, a
share of the traffic is changed. One call is one update of the clock.

Source: Casanueva et al.: Efficient intent detection with dual sentence encoders (2003.04807), CC-BY 4.0.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.frame import Table, number
from streams.detectors.budget import Budget, Series
from streams.detectors.conformal import Conformal
from streams.detectors.second_opinions import SecondOpinion
from streams.detectors.text_vectors import Features, TextVectors
from streams.detectors.two_sample import TwoSample

DATA = Path(os.environ.get("BANKING77_DIR") or Path(__file__).parents[2] / "shared" / "data")
"""A folder with banking77_train.csv and banking77_test.csv."""
RUN_LENGTH = 10_000
SHARE = 0.3
KNOWN = 39
VOCABULARY, REFERENCE = 1_000, 3_000
BEFORE, AFTER = 3_000, 2_000
"""Calls before the change, and after it within which it must be found."""
KS_CALLS, KS_P = 200, 0.05
SCALARS = ("chars", "unseen", "word_length")
TEMPLATES = (
    "Hi there, {} Thanks in advance",
    "Quick question: {}",
    "Could you please help me with this? {}",
    "I would like to know the following. {}",
)
OTHER_LANGUAGE = (
    "ich",
    "habe",
    "eine",
    "frage",
    "zu",
    "meiner",
    "karte",
    "bitte",
    "warum",
    "ist",
    "das",
    "konto",
    "noch",
)


class Corpus(NamedTuple):
    """Texts by what they are for."""

    vocabulary: list[str]
    reference: list[str]
    live: list[str]
    unseen: list[str]


Change = Callable[[Corpus, Random], str]
Matrix = NDArray[np.float64]


def _plain(corpus: Corpus, chance: Random) -> str:
    return chance.choice(corpus.live)


def _typos(corpus: Corpus, chance: Random) -> str:
    return " ".join(_typo(word, chance) for word in _plain(corpus, chance).split())


def _typo(word: str, chance: Random) -> str:
    if len(word) < 4 or chance.random() < 0.6:
        return word
    at = chance.randrange(len(word) - 1)
    return word[:at] + (word[at + 1] + word[at] if chance.random() < 0.5 else "") + word[at + 2 :]


def _other_language(corpus: Corpus, chance: Random) -> str:
    words = _plain(corpus, chance).split()
    return " ".join(chance.choice(OTHER_LANGUAGE) if chance.random() < 0.5 else word for word in words)


CHANGES: dict[str, Change] = {
    "unseen intents": lambda corpus, chance: chance.choice(corpus.unseen),
    "typos": _typos,
    "paraphrase by template": lambda corpus, chance: chance.choice(TEMPLATES).format(_plain(corpus, chance)),
    "another language's words": _other_language,
    "twice as long": lambda corpus, chance: f"{_plain(corpus, chance)} {_plain(corpus, chance)}",
    "cut to five words": lambda corpus, chance: " ".join(_plain(corpus, chance).split()[:5]),
}


class Watch:
    """Something that watches features, call by call, and may name what alarmed."""

    def update(self, features: Features) -> str | None:
        """What alarmed at this call, if anything did."""
        raise NotImplementedError


class Ours(Watch):
    """The two-sample detector on vectors and the conformal one on three scalars, on one budget."""

    def __init__(self, vectors: Matrix, seed: int) -> None:
        self._budget = Budget(RUN_LENGTH)
        self._two_sample = TwoSample(vectors, RUN_LENGTH, seed=seed)
        names = ("novelty", *SCALARS)
        self._conformal = {name: Conformal(RUN_LENGTH, seed=4 * seed + n) for n, name in enumerate(names)}
        for name in ("vector", *names):
            self._budget.admit(Series("bank", name))

    def update(self, features: Features) -> str | None:
        """Each detector with its part of the budget."""
        self._budget.tick()
        self._two_sample.update(features.vector, self._budget.grant(Series("bank", "vector")))
        nearest = self._two_sample.nearest
        assert nearest is not None  # it has just been updated
        found = f"vector: {self._two_sample.grown}" if self._two_sample.drift_detected else None
        for name, detector in self._conformal.items():
            value = nearest if name == "novelty" else getattr(features, name)
            detector.update(value, self._budget.grant(Series("bank", name)))
            found = found or (name if detector.drift_detected else None)
        return found


class River(Watch):
    """One of river's detectors on each scalar, as it comes."""

    def __init__(self, name: str) -> None:
        self._detectors = {scalar: SecondOpinion(name) for scalar in SCALARS}

    def update(self, features: Features) -> str | None:
        """Shares as they are, lengths in hundreds of characters or tens: river's thresholds expect such sizes."""
        found = None
        for name, detector in self._detectors.items():
            detector.update(getattr(features, name) / {"chars": 100, "word_length": 10}.get(name, 1))
            found = name if detector.drift_detected else found
        return found


class Windows(Watch):
    """A Kolmogorov-Smirnov test of each scalar on windows of calls against the first one, at p < 0.05, as is usual."""

    def __init__(self) -> None:
        self._reference: dict[str, list[float]] = {}
        self._window: dict[str, list[float]] = {name: [] for name in SCALARS}

    def update(self, features: Features) -> str | None:
        """Tests at the end of a window."""
        from scipy.stats import ks_2samp

        for name, values in self._window.items():
            values.append(getattr(features, name))
        if len(self._window["chars"]) < KS_CALLS:
            return None
        window, self._window = self._window, {name: [] for name in SCALARS}
        if not self._reference:
            self._reference = window
            return None
        return next((n for n in SCALARS if ks_2samp(window[n], self._reference[n]).pvalue < KS_P), None)


def available() -> bool:
    """Whether the texts are there."""
    return (DATA / "banking77_train.csv").exists()


def corpus(seed: int) -> Corpus:
    """All four parts, without a text in common."""
    rows = [row for part in ("train", "test") for row in _rows(DATA / f"banking77_{part}.csv")]
    chance = Random(seed)
    intents = sorted({intent for _, intent in rows})
    chance.shuffle(intents)
    known = set(intents[:KNOWN])
    texts = [text for text, intent in rows if intent in known]
    chance.shuffle(texts)
    end = VOCABULARY + REFERENCE
    return Corpus(
        texts[:VOCABULARY], texts[VOCABULARY:end], texts[end:], [text for text, intent in rows if intent not in known]
    )


class Measured(NamedTuple):
    """What ``measure`` gives back."""

    table: Table
    figures: dict[str, Any]
    found_share: float
    false: int
    """False alarms of ours, all series together …"""
    allowed: float
    """… and the most that the budget allows, on average."""


def measure(long: bool) -> Measured:
    """Each kind of change with several seeds, and a long run without any."""
    seeds = range(10 if long else 2)
    quiet_calls = 200_000 if long else 10_000
    watches: dict[str, Callable[[Matrix, int], Watch]] = {
        "tidemill": Ours,
        "river ADWIN": lambda _, seed: River("adwin"),
        "river PageHinkley": lambda _, seed: River("page_hinkley"),
        f"KS, {KS_CALLS} calls, p < {KS_P}": lambda _, seed: Windows(),
    }
    found = {
        name: {change: [_delay(make, change, seed) for seed in seeds] for change in CHANGES}
        for name, make in watches.items()
    }
    quiet = {name: _quiet(make, quiet_calls) for name, make in watches.items()}
    rows = [
        (name, *(_cell(delays) for delays in by_change.values()), f"{quiet[name] / quiet_calls * 10_000:.1f}")
        for name, by_change in found.items()
    ]
    title = f"Text: {SHARE:.0%} of traffic changed; median delay in calls (found, of {len(seeds)}, within {AFTER:,})"
    ours = [delay for delays in found["tidemill"].values() for delay in delays]
    return Measured(
        Table(title, ("", *CHANGES, "false alarms in 10,000 calls"), rows),
        {"delays": found, "quiet_calls": quiet_calls, "false": quiet},
        fmean(delay is not None for delay in ours),
        quiet["tidemill"],
        quiet_calls / RUN_LENGTH,
    )


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield row["text"], row["category"]


def _prepared(seed: int) -> tuple[Corpus, TextVectors, Matrix]:
    texts = corpus(seed)
    vectors = TextVectors(texts.vocabulary, seed)
    return texts, vectors, np.array([vectors.of(text).vector for text in texts.reference])


def _delay(make: Callable[[Matrix, int], Watch], change: str, seed: int) -> int | None:
    """Calls from the change to the first alarm after it, if it came in time; alarms before it are passed over."""
    texts, vectors, reference = _prepared(seed)
    watch, chance = make(reference, seed), Random(1_000 + seed)
    for n in range(-BEFORE, AFTER):
        changed = n >= 0 and chance.random() < SHARE
        text = CHANGES[change](texts, chance) if changed else _plain(texts, chance)
        if watch.update(vectors.of(text)) and n >= 0:
            return n
    return None


def _quiet(make: Callable[[Matrix, int], Watch], calls: int) -> int:
    texts, vectors, reference = _prepared(seed=0)
    watch, chance = make(reference, 0), Random(7)
    return sum(watch.update(vectors.of(_plain(texts, chance))) is not None for _ in range(calls))


def _cell(delays: Sequence[int | None]) -> str:
    found = sorted(delay for delay in delays if delay is not None)
    return f"{number(found[len(found) // 2]) if found else '–'} ({len(found)})"
