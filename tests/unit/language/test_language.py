"""The demo's language: seeded, true to its format, free of leaks."""

from __future__ import annotations

import re
from random import Random

import pytest

from producers.language import WAYS, Utterance, corrupt, generate, leaked, talk, utterance
from producers.language.schedule import truth_of
from producers.language.spoken import NICKNAMES, time_in_words
from producers.language.support_phrases import KNOWN, NEW

PAIRS = [(pipeline, way) for pipeline, ways in WAYS.items() for way in ways]
SCHEDULE = re.compile(r"(mon|tue|wed|thu|fri) (0[89]|1[0-7]):(00|15|30|45) \d+m [a-z]+ [A-Z][a-z]+ @ [a-z]+( \d)?")


@pytest.mark.parametrize(("pipeline", "way"), PAIRS)
def test_the_same_seed_says_the_same(pipeline: str, way: str) -> None:
    assert generate(pipeline, way, Random(7), 40) == generate(pipeline, way, Random(7), 40)
    assert generate(pipeline, way, Random(7), 40) != generate(pipeline, way, Random(8), 40)


@pytest.mark.parametrize(("pipeline", "way"), PAIRS)
def test_texts_are_distinct_and_avoid_what_they_must(pipeline: str, way: str) -> None:
    train = generate(pipeline, way, Random(1), 150)
    test = generate(pipeline, way, Random(1), 60, avoid={said.text for said in train})
    assert len({said.text for said in train}) == 150
    assert leaked(train, test) == set()


def test_leaked_names_the_shared_texts() -> None:
    said = generate("schedule", "plain", Random(1), 5)
    assert leaked(said, said[2:3]) == {said[2].text}


@pytest.mark.parametrize("way", WAYS["schedule"])
def test_a_schedule_is_compact_and_its_parts_are_said(way: str) -> None:
    for said in generate("schedule", way, Random(3), 200):
        assert SCHEDULE.fullmatch(said.truth), said
        assert truth_of(dict(said.fields)) == said.truth
        for part in ("topic", "person", "place"):
            assert said.fields[part].lower() in said.text.lower()


def test_plain_writes_figures_and_words_does_not() -> None:
    for said in generate("schedule", "plain", Random(3), 100):
        assert said.fields["time"] in said.text
    spoken = generate("schedule", "words", Random(3), 400)
    assert not any(said.fields["time"] in said.text for said in spoken)
    names = {name for names in NICKNAMES.values() for name in names}
    by_nickname = sum(any(name in said.text.lower() for name in names) for said in spoken)
    assert 0.15 < by_nickname / len(spoken) < 0.35


@pytest.mark.parametrize(
    ("hour", "minute", "words"),
    [(15, 30, "half past three"), (12, 45, "twelve forty five"), (8, 15, "quarter past eight")],
)
def test_times_in_words(hour: int, minute: int, words: str) -> None:
    assert time_in_words(hour, minute, Random(0)) == words


def test_an_odd_minute_has_no_words() -> None:
    with pytest.raises(ValueError, match="minute is 7"):
        time_in_words(9, 7, Random(0))


def test_support_asks_new_intents_only_in_the_way_novel() -> None:
    for way in ("plain", "long"):
        assert {said.truth for said in generate("support", way, Random(2), 300)} == set(KNOWN)
    novel = generate("support", "novel", Random(2), 400)
    new = sum(said.truth in NEW for said in novel) / len(novel)
    assert 0.55 < new < 0.85


def test_long_questions_are_longer() -> None:
    plain, long = (generate("support", way, Random(2), 100) for way in ("plain", "long"))
    assert min(len(said.text) for said in long) > sum(len(said.text) for said in plain) / 100


def test_unknown_pipeline_and_way_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"'cooking'.*schedule, support"):
        utterance("cooking", "plain", Random(0))
    with pytest.raises(ValueError, match=r"'loud'.*plain, words"):
        utterance("schedule", "loud", Random(0))


def test_a_language_that_runs_dry_says_so() -> None:
    every = {said.text for said in (utterance("support", "plain", Random(seed)) for seed in range(30_000))}
    assert len(every) > 3_000
    with pytest.raises(ValueError, match="no new texts"):
        generate("support", "plain", _Stuck(5), 2)


class _Stuck(Random):
    """A source of chance that always answers the same."""

    def random(self) -> float:
        return 0.25

    def getrandbits(self, k: int, /) -> int:
        return 0


@pytest.mark.parametrize(("pipeline", "way"), PAIRS)
def test_a_corrupted_truth_is_wrong_and_keeps_its_form(pipeline: str, way: str) -> None:
    for said in generate(pipeline, way, Random(5), 100):
        wrong = corrupt(said, Random(0))
        assert wrong.truth != said.truth
        assert wrong.text == said.text
        assert corrupt(said, Random(1)) == wrong, "a pattern, not chance"
        if pipeline == "schedule":
            assert wrong.truth == truth_of(dict(wrong.fields))


def test_one_label_alone_cannot_be_corrupted() -> None:
    with pytest.raises(ValueError, match="needs a second one"):
        corrupt(Utterance("support", "hm?", "only", "plain"), Random(0), labels=["only"])


def test_talk_is_filled_in_and_teaches_no_answer() -> None:
    for seed in range(50):
        said = talk.utterance(Random(seed))
        assert said.truth == ""
        assert said.text and "{" not in said.text
