"""Languages under watch: one language with wrong guesses is quiet; others coming in, or another mix, are noticed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.detectors.drift import Drift
from streams.detectors.languages import Languages, mismatches
from streams.windows.tally import Tally
from tests.unit.streams.test_drift_detector import Watched
from tidemill.metrics import LANGUAGE_MISMATCH
from tidemill.settings import DriftSettings

SETTINGS = DriftSettings(metrics=(LANGUAGE_MISMATCH,))
FLICKER = {"en": 0.985, "": 0.01, "da": 0.003, "nl": 0.002}
codes = st.sampled_from(["en", "de", "fr", "nl"])
counts = st.dictionaries(codes, st.integers(1, 50), min_size=1)


def spoken(watched: Watched, windows: int, mix: dict[str, float], n: int = 25, champion: str = "p-v1") -> list[str]:
    """Feed windows of n calls whose languages are drawn from ``mix``; what began or ended."""
    told = []
    for _ in range(windows):
        drawn = watched.chance.choices(list(mix), list(mix.values()), k=n)
        languages = {code: drawn.count(code) for code in sorted(set(drawn)) if code}
        told += watched.take(Tally(requests=n, sampled=n, languages=languages), champion, SETTINGS)
    return told


@pytest.mark.parametrize("mix", [{"en": 1.0}, FLICKER, {"en": 0.8, "de": 0.2}], ids=["one", "flicker", "two"])
@pytest.mark.parametrize("seed", range(3))
def test_the_same_languages_give_no_notice(mix: dict[str, float], seed: int) -> None:
    assert spoken(Watched(seed), 800, mix) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (FLICKER, {"en": 0.7, "de": 0.3}),
        ({"en": 0.8, "de": 0.2}, {"en": 0.3, "de": 0.7}),
        ({"en": 0.8, "de": 0.2}, {"en": 1.0}),
    ],
    ids=["another", "more of the rarer", "one is gone"],
)
def test_other_languages_are_noticed_and_the_notice_ends_when_they_are_back(
    before: dict[str, float], after: dict[str, float]
) -> None:
    watched = Watched(4)
    assert spoken(watched, 150, before) == []
    assert spoken(watched, 40, after) == [LANGUAGE_MISMATCH]
    assert spoken(watched, 40, before) == [f"-{LANGUAGE_MISMATCH}"]


def test_a_new_champion_brings_a_new_reference() -> None:
    watched = Watched(5)
    spoken(watched, 150, {"en": 1.0})
    assert spoken(watched, 40, {"en": 0.5, "de": 0.5}) == [LANGUAGE_MISMATCH]
    assert spoken(watched, 1, {"en": 0.5, "de": 0.5}, champion="p-v2") == [f"-{LANGUAGE_MISMATCH}"]
    assert (sum(watched.drift.languages.calls.values()), watched.drift.languages.whole) == (25, False)
    assert spoken(watched, 300, {"en": 0.5, "de": 0.5}, champion="p-v2") == []


def test_calls_of_no_known_language_are_no_reference_and_disturb_no_words() -> None:
    watched, settings = Watched(6), DriftSettings(metrics=("input_unseen_share", LANGUAGE_MISMATCH))
    for _ in range(50):
        watched.take(Tally(requests=25, sampled=25, words={1: 9, 2: 4}), settings=settings)
    assert watched.drift.languages == Languages()
    assert watched.drift.reference == {1: 8 * 9, 2: 8 * 4}
    assert LANGUAGE_MISMATCH not in watched.drift.figures(Tally(languages={"en": 3}))


def test_a_state_of_before_keeps_its_words_and_gathers_languages() -> None:
    watched, settings = Watched(7), DriftSettings(metrics=("input_unseen_share",))
    for _ in range(12):
        watched.take(Tally(requests=25, sampled=25, words={1: 9, 2: 4}), settings=settings)
    known = msgspec.msgpack.decode(msgspec.msgpack.encode(watched.drift))
    assert known.pop("languages") == {}
    watched.drift = msgspec.convert(known, Drift)
    settings = DriftSettings(metrics=("input_unseen_share", LANGUAGE_MISMATCH))
    for _ in range(9):
        watched.take(Tally(requests=25, sampled=25, words={1: 9, 2: 4}, languages={"de": 25}), settings=settings)
    assert watched.drift.reference == {1: 8 * 9, 2: 8 * 4}
    assert watched.drift.languages == Languages({"de": 200}, whole=True)
    figure = watched.drift.figures(Tally(languages={"de": 3, "en": 1}))[LANGUAGE_MISMATCH]
    assert figure[:4] == (4, 1.0, 1.0, 0.25)


@given(counts, counts)
def test_mismatch_is_the_chance_that_two_calls_differ(some: dict[str, int], reference: dict[str, int]) -> None:
    each = mismatches(some, reference)
    pairs = [(a, b) for a in some for b in reference]
    differ = sum(some[a] * reference[b] for a, b in pairs if a != b)
    every = sum(some.values()) * sum(reference.values())
    figure = Languages(dict(reference), whole=True).figure(Tally(languages=dict(some)))
    assert figure is not None and figure.value == pytest.approx(differ / every, abs=1e-12)
    assert all(0 <= value <= 1 for value in each.values())
    assert figure.total_sq <= figure.total + 1e-9
