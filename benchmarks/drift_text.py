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
SCALARS = ("chars", "unseen", "word_length", "novelty")
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


class Ours:
    """The two-sample detector on vectors and the conformal one on scalars, on one budget."""

    def __init__(self, vectors: Matrix, seed: int) -> None:
        self._budget = Budget(RUN_LENGTH)
        self._two_sample = TwoSample(vectors, RUN_LENGTH, seed=seed)
        self._conformal = {name: Conformal(RUN_LENGTH, seed=4 * seed + n) for n, name in enumerate(SCALARS)}
        for name in ("vector", *SCALARS):
            self._budget.admit(Series("bank", name))

    def update(self, features: Features) -> tuple[bool, tuple[float, ...]]:
        """Whether any alarmed, and the scalars."""
        self._budget.tick()
        self._two_sample.update(features.vector, self._budget.grant(Series("bank", "vector")))
        alarmed = bool(self._two_sample.drift_detected)
        assert self._two_sample.nearest is not None  # it has just been updated
        scalars = (features.chars, features.unseen, features.word_length, self._two_sample.nearest)
        for (name, detector), value in zip(self._conformal.items(), scalars, strict=True):
            detector.update(value, self._budget.grant(Series("bank", name)))
            alarmed = alarmed or bool(detector.drift_detected)
        return alarmed, scalars


class River:
    """One of river's detectors on each scalar, all brought to about one: its thresholds expect that."""

    def __init__(self, name: str) -> None:
        self._detectors = [SecondOpinion(name) for _ in SCALARS]

    def update(self, scalars: Sequence[float]) -> bool:
        """Whether any alarmed."""
        for detector, value, unit in zip(self._detectors, scalars, (100, 1, 10, 1), strict=True):
            detector.update(value / unit)
        return any(detector.drift_detected for detector in self._detectors)


class Windows:
    """A Kolmogorov-Smirnov test of each scalar on windows of calls against the first one, at p < 0.05, as is usual."""

    def __init__(self) -> None:
        self._reference: list[tuple[float, ...]] = []
        self._window: list[Sequence[float]] = []

    def update(self, scalars: Sequence[float]) -> bool:
        """Tests at the end of a window."""
        from scipy.stats import ks_2samp

        self._window.append(scalars)
        if len(self._window) < KS_CALLS:
            return False
        columns, self._window = list(zip(*self._window, strict=True)), []
        if not self._reference:
            self._reference = columns
            return False
        return any(ks_2samp(new, old).pvalue < KS_P for new, old in zip(columns, self._reference, strict=True))


PEERS: dict[str, Callable[[], River | Windows]] = {
    "river ADWIN": lambda: River("adwin"),
    "river PageHinkley": lambda: River("page_hinkley"),
    f"KS, {KS_CALLS} calls, p < {KS_P}": Windows,
}


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
    """Each kind of change, and none, with several seeds: all watch the same calls."""
    seeds = range(10 if long else 2)
    quiet_calls = 20_000 if long else 5_000
    found: dict[str, dict[str, list[int | None]]] = {name: {c: [] for c in CHANGES} for name in ("tidemill", *PEERS)}
    quiet = dict.fromkeys(found, 0)
    for seed in seeds:
        for kind, change in CHANGES.items():
            for name, alarms in _alarms(seed, BEFORE, AFTER, change).items():
                found[name][kind].append(next((n - BEFORE for n in alarms if n >= BEFORE), None))
        for name, alarms in _alarms(seed, quiet_calls, 0, _plain).items():
            quiet[name] += len(alarms)
    calls = quiet_calls * len(seeds)
    rows = [
        (name, *(_cell(delays) for delays in by_change.values()), f"{quiet[name] / calls * 10_000:.1f}")
        for name, by_change in found.items()
    ]
    title = f"Text: {SHARE:.0%} of traffic changed; median delay in calls (found, of {len(seeds)}, within {AFTER:,})"
    ours = [delay for delays in found["tidemill"].values() for delay in delays]
    return Measured(
        Table(title, ("", *CHANGES, "false alarms in 10,000 calls"), rows),
        {"delays": found, "quiet_calls": calls, "false": quiet},
        fmean(delay is not None for delay in ours),
        quiet["tidemill"],
        calls / RUN_LENGTH,
    )


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield row["text"], row["category"]


def _alarms(seed: int, before: int, after: int, change: Change) -> dict[str, list[int]]:
    """The numbers of the calls with an alarm, for each that watches."""
    texts = corpus(seed)
    vectors = TextVectors(texts.vocabulary, seed)
    ours = Ours(np.array([vectors.of(text).vector for text in texts.reference]), seed)
    peers = {name: make() for name, make in PEERS.items()}
    chance = Random(1_000 + seed)
    found: dict[str, list[int]] = {name: [] for name in ("tidemill", *PEERS)}
    for n in range(before + after):
        changed = n >= before and chance.random() < SHARE
        alarmed, scalars = ours.update(vectors.of((change if changed else _plain)(texts, chance)))
        if alarmed:
            found["tidemill"].append(n)
        for name, peer in peers.items():
            if peer.update(scalars):
                found[name].append(n)
    return found


def _cell(delays: Sequence[int | None]) -> str:
    found = sorted(delay for delay in delays if delay is not None)
    return f"{number(found[len(found) // 2]) if found else '–'} ({len(found)})"
