"""The turn's trainings draw what they say, and forgetting is told as the worst of all earlier domains."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import turn_drifts, turn_training
from benchmarks.turn_drifts import Turn, forgotten
from benchmarks.turn_training import Ground, recipe, rows_of, spec_of
from producers.language.texts import split
from retrain.datasets.rows import Row
from retrain.train.spec import TrainingSpec

LABELS = [f"label-{number}" for number in range(12)]
TEXTS = split([(f"question {number} about {label}", label) for label in LABELS for number in range(20)], 0.5, 0)
AT = Ground(TEXTS, Path("base"), Path("champion"), seed=0, threads=1)


def test_what_is_reserved_of_known_labels_is_never_trained_on() -> None:
    rows = rows_of(AT, frozenset(LABELS), name="any")
    prompts = {row.prompt for row in rows}
    assert not prompts & {text for text, _ in TEXTS.of(held_back=False, reserved=True)}
    assert {row.completion for row in rows} == set(LABELS)
    assert rows == rows_of(AT, frozenset(LABELS), name="any") != rows_of(AT, frozenset(LABELS), name="other")
    assert rows_of(AT, frozenset(LABELS), name="any", most=5) == rows[:5]


def test_a_spec_is_one_that_the_training_takes() -> None:
    spec = spec_of(recipe(), AT) | {"dataset": "rows", "out": "adapter", "champion": "champion"}
    assert TrainingSpec(**spec).keep_weight > 0


def test_forgetting_is_the_worst_of_the_earlier_domains() -> None:
    turns = [Turn(0, (0.8, 0.0, 0.0), 0.0), Turn(1, (0.9, 0.8, 0.0), 1.0), Turn(2, (0.81, 0.76, 0.7), 1.0)]
    assert forgotten(turns) == pytest.approx(0.1)
    assert forgotten(turns[:1]) == 0.0


def test_each_turn_trains_on_one_part_and_as_much_of_all_before(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Path, list[Row]]] = []

    def trained(folder: Path, spec: object, champion: Path, rows: list[Row]) -> tuple[Path, dict[str, float]]:
        seen.append((champion, rows))
        return folder, {"cpu_seconds": 1.0}

    monkeypatch.setattr(turn_drifts, "trained", trained)
    monkeypatch.setattr(turn_drifts, "exact_match", lambda at, adapter, tests: [0.5] * len(tests))
    monkeypatch.setattr(turn_drifts, "tests_of", lambda at, labels: [])
    turns = list(turn_drifts.drifts(AT, {"steps": 100}, 3, lambda line: None))
    assert [turn.turn for turn in turns] == [0, 1, 2, 3]
    assert [champion.name for champion, _ in seen] == ["champion", "1", "2"]
    parts = [{row.completion for row in rows} & TEXTS.held_back for _, rows in seen]
    assert [len(part) for part in parts] == [2, 4, 6] and parts[0] < parts[1] < parts[2] == set(TEXTS.held_back)
    for _, rows in seen:
        assert len({row.prompt for row in rows}) == len(rows) and 148 <= len(rows) <= 200


def test_test_questions_are_none_that_were_trained_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    trained_on = TEXTS.rows[0]
    file = tmp_path / "banking77_test.csv"
    file.write_text(f"text,category\nnew words,{LABELS[0]}\n{trained_on[0]},{trained_on[1]}\nother,else\n")
    monkeypatch.setattr(turn_training, "DATA", tmp_path)
    assert [row.prompt for row in turn_training.tests_of(AT, frozenset(LABELS))] == ["new words"]
