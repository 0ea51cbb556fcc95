"""Seeded utterances of the demo pipelines: one entry for traffic, training corpora and golden sets."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from random import Random

from producers.language import schedule, support
from producers.language.utterance import Utterance

WAYS: dict[str, tuple[str, ...]] = {schedule.PIPELINE: schedule.WAYS, support.PIPELINE: support.WAYS}
"""Pipeline to its ways of speaking; the first is the base way."""

_SPEAKERS: dict[str, Callable[[str, Random], Utterance]] = {
    schedule.PIPELINE: schedule.utterance,
    support.PIPELINE: support.utterance,
}
_TRIES = 1_000


def utterance(pipeline: str, way: str, rng: Random) -> Utterance:
    """One utterance. ValueError names an unknown pipeline or way and the known ones."""
    if pipeline not in _SPEAKERS:
        raise ValueError(f"pipeline is {pipeline!r}; the demo speaks {', '.join(_SPEAKERS)}")
    return _SPEAKERS[pipeline](way, rng)


def generate(pipeline: str, way: str, rng: Random, n: int, avoid: Collection[str] = ()) -> list[Utterance]:
    """`n` utterances whose texts are distinct and not in `avoid` (so a test set never leaks from training).

    Same `rng` state, same list. ValueError if the language runs out of new texts.
    """
    return list(_distinct(pipeline, way, rng, n, set(avoid)))


def leaked(train: Collection[Utterance], test: Collection[Utterance]) -> set[str]:
    """Texts that stand in both; empty means the test set is clean."""
    return {each.text for each in train} & {each.text for each in test}


def _distinct(pipeline: str, way: str, rng: Random, n: int, seen: set[str]) -> Iterator[Utterance]:
    for _ in range(n):
        for _ in range(_TRIES):
            said = utterance(pipeline, way, rng)
            if said.text not in seen:
                break
        else:
            raise ValueError(f"{pipeline}/{way} has no new texts left after {len(seen)}; ask for fewer or avoid less")
        seen.add(said.text)
        yield said
