"""Real questions to a bank (BANKING77), as traffic whose way can change.

Traffic is drawn, with repeats, from questions of 39 of the 77 intents; so is the reference: as long as nothing changes,
both are draws from one and the same pool, and nothing tells them apart.

Source: Casanueva et al.: Efficient intent detection with dual sentence encoders (2003.04807), CC-BY 4.0.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

DATA = Path(os.environ.get("BANKING77_DIR") or Path(__file__).parents[2] / "shared" / "data")
"""A folder with banking77_train.csv and banking77_test.csv."""
KNOWN = 39
VOCABULARY, REFERENCE = 1_000, 3_000
TENANTS, TENANT_SHARES = "abcde", (0.4, 0.25, 0.2, 0.1, 0.05)
PROMPTS, PROMPT_SHARES = ("v1", "v2"), (0.7, 0.3)
SLICES = ("", *(f"tenant={tenant}" for tenant in TENANTS), *(f"prompt={prompt}" for prompt in PROMPTS))
"""The slice without a name is all of the traffic. Nothing here has a language, so there is no slice by it."""
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
    """Draws from ``live``."""
    live: list[str]
    unseen: list[str]


class Call(NamedTuple):
    """One call."""

    text: str
    slices: tuple[str, ...]
    """Those it belongs to, of SLICES."""


Change = Callable[[Corpus, Random], str]


def plain(corpus: Corpus, chance: Random) -> str:
    """A question as it is."""
    return chance.choice(corpus.live)


def _typos(corpus: Corpus, chance: Random) -> str:
    return " ".join(_typo(word, chance) for word in plain(corpus, chance).split())


def _typo(word: str, chance: Random) -> str:
    if len(word) < 4 or chance.random() < 0.6:
        return word
    at = chance.randrange(len(word) - 1)
    return word[:at] + (word[at + 1] + word[at] if chance.random() < 0.5 else "") + word[at + 2 :]


def _other_language(corpus: Corpus, chance: Random) -> str:
    words = plain(corpus, chance).split()
    return " ".join(chance.choice(OTHER_LANGUAGE) if chance.random() < 0.5 else word for word in words)


CHANGES: dict[str, Change] = {
    "unseen intents": lambda corpus, chance: chance.choice(corpus.unseen),
    "typos": _typos,
    "paraphrase by template": lambda corpus, chance: chance.choice(TEMPLATES).format(plain(corpus, chance)),
    "another language's words": _other_language,
    "twice as long": lambda corpus, chance: f"{plain(corpus, chance)} {plain(corpus, chance)}",
    "cut to five words": lambda corpus, chance: " ".join(plain(corpus, chance).split()[:5]),
}


def available() -> bool:
    """Whether the texts are there."""
    return (DATA / "banking77_train.csv").exists()


def page_lacks(*, long: bool) -> str:
    """What a run needs to find all that its page shows, for benchmarks with the texts on a page of long runs; empty
    where it has it."""
    if not long:
        return "--long"
    return "" if available() else f"{DATA / 'banking77_train.csv'} (BANKING77_DIR names another folder)"


def corpus(seed: int) -> Corpus:
    """All four parts; the vocabulary's texts are in no other."""
    rows = [row for part in ("train", "test") for row in _rows(DATA / f"banking77_{part}.csv")]
    chance = Random(seed)
    intents = sorted({intent for _, intent in rows})
    chance.shuffle(intents)
    known = set(intents[:KNOWN])
    texts = [text for text, intent in rows if intent in known]
    chance.shuffle(texts)
    live = texts[VOCABULARY:]
    unseen = [text for text, intent in rows if intent not in known]
    return Corpus(texts[:VOCABULARY], chance.choices(live, k=REFERENCE), live, unseen)


def calls(texts: Corpus, change: Change, share: float, seed: int) -> Iterator[Call]:
    """Endless traffic of which ``share`` is changed; tenants and prompt versions are drawn apart from the texts."""
    chance = Random(seed)
    while True:
        text = (change if chance.random() < share else plain)(texts, chance)
        tenant, prompt = chance.choices(TENANTS, TENANT_SHARES)[0], chance.choices(PROMPTS, PROMPT_SHARES)[0]
        yield Call(text, ("", f"tenant={tenant}", f"prompt={prompt}"))


def _rows(path: Path) -> Iterator[tuple[str, str]]:
    with path.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            yield row["text"], row["category"]
