"""Text drift on BANKING77, real questions to a bank: ours on one budget, beside tests without one.

Traffic is drawn from 39 of the 77 intents; the reference is other questions of the same intents. From some call on, a
share of the traffic is changed. One call is one update of the clock.

Source: Casanueva et al.: Efficient intent detection with dual sentence encoders (2003.04807), CC-BY 4.0.
"""

from __future__ import annotations

import csv
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from benchmarks.drift_watches import EVIDENTLY, RUN_LENGTH, SLICES, WATCHES, Call, Reference, Watch
from benchmarks.frame import Table, number
from streams.detectors.text_vectors import TextVectors

DATA = Path(os.environ.get("BANKING77_DIR") or Path(__file__).parents[2] / "shared" / "data")
"""A folder with banking77_train.csv and banking77_test.csv."""
SHARE = 0.3
KNOWN = 39
VOCABULARY, REFERENCE = 1_000, 3_000
BEFORE, AFTER = 3_000, 2_000
"""Calls before the change, and after it within which it must be found."""
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
    found = {
        name: {change: [_delay(make, change, seed) for seed in range(_streams(name, long))] for change in CHANGES}
        for name, make in WATCHES.items()
    }
    calls = {name: _quiet_calls(name, long) for name in WATCHES}
    quiet = {name: _quiet(make, calls[name]) for name, make in WATCHES.items()}
    rows = []
    for name, delays in found.items():
        rate = f"{quiet[name].alarms / calls[name] * 10_000:.1f}"
        rows.append((name, *map(_cell, delays.values()), rate, number(quiet[name].us_per_call)))
    title = f"Text: {SHARE:.0%} of traffic changed; median delay in calls (found, of runs, within {AFTER:,})"
    ours = [delay for delays in found["tidemill"].values() for delay in delays]
    return Measured(
        Table(title, ("", *CHANGES, "false alarms in 10,000 calls", "µs a call"), rows),
        {"delays": found, "quiet_calls": calls, "quiet": {name: each._asdict() for name, each in quiet.items()}},
        fmean(delay is not None for delay in ours),
        quiet["tidemill"].alarms,
        calls["tidemill"] / RUN_LENGTH,
    )


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield row["text"], row["category"]


def _streams(name: str, long: bool) -> int:
    """How many streams of each change; a window takes Evidently seconds."""
    return (2 if long else 1) if name == EVIDENTLY else (10 if long else 2)


def _quiet_calls(name: str, long: bool) -> int:
    return (10_000 if long else 2_000) if name == EVIDENTLY else (200_000 if long else 10_000)


def _prepared(seed: int) -> tuple[Corpus, TextVectors, Reference]:
    texts = corpus(seed)
    vectors = TextVectors(texts.vocabulary, seed)
    return texts, vectors, Reference(texts.reference, np.array([vectors.of(text).vector for text in texts.reference]))


def _delay(make: Callable[[Reference, int], Watch], change: str, seed: int) -> int | None:
    """Calls from the change to the first alarm after it, if it came in time; alarms before it are passed over."""
    texts, vectors, reference = _prepared(seed)
    watch, chance = make(reference, seed), Random(1_000 + seed)
    for n in range(-BEFORE, AFTER):
        changed = n >= 0 and chance.random() < SHARE
        text = CHANGES[change](texts, chance) if changed else _plain(texts, chance)
        if watch.update(Call(text, chance.choice(SLICES), vectors.of(text))) and n >= 0:
            return n
    return None


class Quiet(NamedTuple):
    """A long run without a change."""

    alarms: int
    us_per_call: float
    """Time of the watch, features aside."""


def _quiet(make: Callable[[Reference, int], Watch], calls: int) -> Quiet:
    texts, vectors, reference = _prepared(seed=0)
    watch, chance = make(reference, 0), Random(7)
    alarms, spent_s = 0, 0.0
    for _ in range(calls):
        text = _plain(texts, chance)
        call = Call(text, chance.choice(SLICES), vectors.of(text))
        begun_s = time.perf_counter()
        alarms += watch.update(call) is not None
        spent_s += time.perf_counter() - begun_s
    return Quiet(alarms, spent_s / calls * 1e6)


def _cell(delays: Sequence[int | None]) -> str:
    found = sorted(delay for delay in delays if delay is not None)
    return f"{number(found[len(found) // 2]) if found else '–'} ({len(found)} of {len(delays)})"
