"""What users say and how they judge answers: seeded, in the planned shares, reviewers never wrong."""

from __future__ import annotations

from random import Random

from producers.traffic.habits import Habits, opinions

HABITS = Habits("schedule", rate=1.0)


def test_the_same_seed_says_the_same() -> None:
    assert HABITS.say(Random(3)) == HABITS.say(Random(3))


def test_feedback_comes_in_the_planned_shares() -> None:
    rng = Random(1)
    said = HABITS.say(rng)
    given = [opinion for _ in range(4_000) for opinion in opinions(HABITS, said, said.truth, rng)]
    labels = [opinion for opinion in given if opinion.value is not None]
    assert 0.77 < len(labels) / 4_000 < 0.83
    assert 0.31 < sum(label.source == "audit" for label in labels) / len(labels) < 0.39
    thumbs = [opinion.score for opinion in given if opinion.kind == "thumb"]
    assert 0.92 < sum(score == 1.0 for score in thumbs) / len(thumbs) < 0.98


def test_corrupted_labels_come_from_users_alone() -> None:
    habits = Habits("schedule", rate=1.0, wrong_share=1.0, label_share=1.0)
    rng = Random(2)
    said = habits.say(rng)
    given = [opinion for _ in range(500) for opinion in opinions(habits, said, "", rng) if opinion.value is not None]
    assert all((opinion.value == said.truth) == (opinion.source == "audit") for opinion in given)


def test_a_wrong_answer_gets_corrections_and_thumbs_down() -> None:
    rng = Random(4)
    said = HABITS.say(rng)
    given = [opinion for _ in range(1_000) for opinion in opinions(HABITS, said, "no", rng)]
    assert {"label", "correction", "thumb"} == {opinion.kind for opinion in given}
    thumbs = [opinion.score for opinion in given if opinion.kind == "thumb"]
    assert sum(score == 0.0 for score in thumbs) > 0.85 * len(thumbs)
