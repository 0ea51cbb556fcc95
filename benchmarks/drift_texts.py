"""Streams of real questions, and what may happen to them.

A stream draws questions at random; from the change on, SHARE of them are altered, or come from intents that were held
back.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

SHARE = 0.3
HELD_BACK = 7
"""Intents that the reference has never seen."""
SLICES = ("tenant-a", "tenant-b", "tenant-c")


class Text(NamedTuple):
    """A question and its intent."""

    text: str
    intent: str


class Pool(NamedTuple):
    """What a stream draws from."""

    known: list[str]
    held_back: list[str]


Injection = Callable[[str, random.Random, Pool], str]


def read(file: Path, text: str = "text", label: str = "category") -> list[Text]:
    """The questions of a CSV file with a header. Raises KeyError on a missing column."""
    with file.open(encoding="utf-8", newline="") as rows:
        return [Text(row[text], row[label]) for row in csv.DictReader(rows)]


def pool(texts: Sequence[Text], seed: int) -> Pool:
    """Hold back some intents."""
    hidden = set(random.Random(seed).sample(sorted({one.intent for one in texts}), HELD_BACK))
    known = [one.text for one in texts if one.intent not in hidden]
    return Pool(known, [one.text for one in texts if one.intent in hidden])


def _typos(text: str, chance: random.Random, _: Pool) -> str:
    """Every twelfth letter is dropped, doubled or another one."""
    letters = list(text)
    for _number in range(max(1, len(letters) // 12)):
        at = chance.randrange(len(letters))
        letters[at] = chance.choice(("", 2 * letters[at], chance.choice("abcdefghijklmnopqrstuvwxyz")))
    return "".join(letters)


_FRAMES = (
    "Hello, I hope you are well. {}",
    "Could somebody please tell me the following: {}",
    "{} Thanks in advance for your help!",
)
_GERMAN = """guten tag ich habe eine frage wann kommt meine neue karte endlich an und warum wurde das geld nicht gebucht
bitte helfen sie mir schnell"""


def _framed(text: str, chance: random.Random, _: Pool) -> str:
    return chance.choice(_FRAMES).format(text)


def _foreign(text: str, chance: random.Random, _: Pool) -> str:
    foreign = _GERMAN.split()
    return " ".join(chance.choice(foreign) if chance.random() < 0.4 else word for word in text.split())


def _longer(text: str, chance: random.Random, pool: Pool) -> str:
    return f"{text} {chance.choice(pool.known)}"


INJECTIONS: dict[str, Injection] = {
    "unseen intents": lambda _text, chance, pool: chance.choice(pool.held_back),
    "typos": _typos,
    "another way to ask": _framed,
    "another language's words": _foreign,
    "twice as long": _longer,
}


def stream(pool: Pool, injection: Injection | None, seed: int, quiet: int, changed: int) -> Iterator[tuple[str, str]]:
    """Text and slice of each call; from ``quiet`` on, SHARE of them are altered."""
    chance = random.Random(seed)
    for number in range(quiet + changed):
        text = chance.choice(pool.known)
        if injection is not None and number >= quiet and chance.random() < SHARE:
            text = injection(text, chance, pool)
        yield text, chance.choice(SLICES)


def reference(pool: Pool, calls: int, seed: int) -> list[str]:
    """Calls of before."""
    return random.Random(-1 - seed).choices(pool.known, k=calls)
