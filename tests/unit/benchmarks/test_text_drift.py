"""A change of 30 % of the calls is found within 2,000: new topics by the detectors by themselves, another language's
words by stage 2, which has a past half as long here as in the benchmark.

The detectors on the questions that the demo makes, and on BANKING77 where it is at hand; stage 2 on the latter, or
else on the former.
"""

from __future__ import annotations

from itertools import islice
from random import Random

import pytest

from benchmarks.drift_corpus import CHANGES, REFERENCE, VOCABULARY, Corpus, available, calls, corpus, plain
from benchmarks.drift_stage2 import Stage2
from benchmarks.drift_text import AFTER, SHARE
from benchmarks.drift_watches import Features, Ours
from producers.language import speech, support
from producers.language.support_phrases import NEW


def made(seed: int) -> Corpus:
    """The demo's questions: known intents, and intents that did not exist before."""
    chance = Random(seed)
    known = [said.text for said in speech.generate(support.PIPELINE, "plain", chance, VOCABULARY + 2_000)]
    novel = speech.generate(support.PIPELINE, support.NOVEL, chance, 1_000, known)
    live = known[VOCABULARY:]
    return Corpus(
        known[:VOCABULARY], chance.choices(live, k=REFERENCE), live, [said.text for said in novel if said.truth in NEW]
    )


SOURCES = {"made": made} | ({"BANKING77": corpus} if available() else {})


@pytest.mark.parametrize("source", SOURCES)
def test_the_detectors_find_new_topics(source: str) -> None:
    texts = SOURCES[source](0)
    features = Features(texts, 0)
    ours = Ours(features, 0, ("",))
    quiet = [ours.update(features.of(call)) for call in islice(calls(texts, plain, 0.0, 1_000), 1_000)]
    assert not any(quiet)
    changed = islice(calls(texts, CHANGES["unseen intents"], SHARE, 2_000), AFTER)
    assert any(ours.update(features.of(call)) for call in changed)


def test_stage_2_finds_another_languages_words() -> None:
    texts = [*SOURCES.values()][-1](0)
    watched, before = Stage2(texts, 0, 1), 1_500
    assert not [*watched.run(calls(texts, plain, 0.0, 1_000), before)]
    first = next(watched.run(calls(texts, CHANGES["another language's words"], SHARE, 2_000), AFTER))
    assert before < first.call <= before + AFTER
