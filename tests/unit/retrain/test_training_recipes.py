"""The pure half of the recipes: their rows, what is refused in words, packing, throughput."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch
from pydantic import ValidationError

from retrain.model.batches import bins
from retrain.model.examples import IGNORED, Judged, Pair, Row, fits, read_rows, rows_as
from retrain.train import sweep, throughput
from retrain.train.recipes.distill import taught
from retrain.train.recipes.kto import weights
from retrain.train.recipes.sft import Packed, Padded
from retrain.train.rows import Untrainable
from retrain.train.spec import Sweep, TrainingSpec
from retrain.train.sweep import options, parted
from tidemill.settings import RetrainSettings


def test_each_recipe_has_its_rows_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('{"prompt":"q","completion":"a","rejected":"b"}\n')
    assert rows_as(file, Pair) == [Pair("q", "a", "b")]
    assert read_rows(file) == [Row("q", "a")]
    with pytest.raises(ValueError, match=r"line 1: .*; a row needs prompt and completion and liked$"):
        rows_as(file, Judged)
    file.write_text(json.dumps({"prompt": "q", "completion": "a", "liked": True}))
    assert rows_as(file, Judged) == [Judged("q", "a", True)]


def test_answers_that_leave_their_question_no_room_do_not_fit() -> None:
    def ids_of(texts: object) -> list[list[int]]:
        return [[0] * len(text) for text in texts]  # type: ignore[attr-defined]

    assert fits([("12", "1", "123"), ("12", "1234", "1")], ids_of, 5) == [True, False]


def test_likes_and_dislikes_weigh_the_same_together() -> None:
    assert weights(10, 10) == (1.0, 1.0)
    up, down = weights(30, 10)
    assert (up * 30, down * 10) == (30, 30)
    for liked, disliked, missing in ((7, 0, "down"), (0, 7, "up")):
        with pytest.raises(Untrainable, match=rf"none of 7 thumbs is {missing}"):
            weights(liked, disliked)


def test_a_teacher_answers_what_has_no_label_and_the_truth_stays() -> None:
    rows = [Row("a", ""), Row("b", "truth"), Row("c", " ")]
    assert taught(rows, ["A", "C"]) == [Row("a", "A"), Row("b", "truth"), Row("c", "C")]


def test_bins_hold_everything_once_and_none_is_too_full() -> None:
    lengths = [7, 3, 5, 2, 2, 9, 1]
    found = bins(lengths, 10)
    assert sorted(index for each in found for index in each) == list(range(7))
    assert all(sum(lengths[index] for index in each) <= 10 for each in found)
    assert len(found) == 3
    assert bins([50], 10) == [[0]]


def test_packed_rows_keep_their_answers_and_begin_anew() -> None:
    rows = [
        {"input_ids": [11, 12, 13], "labels": [IGNORED, IGNORED, 13], "row": 4},
        {"input_ids": [21, 22, 23, 24], "labels": [IGNORED, IGNORED, 23, 24], "row": 5},
        {"input_ids": [31, 32, 33], "labels": [IGNORED, IGNORED, 33], "row": 6},
    ]
    packed, plain = Packed(0, 8)(rows), Padded(0)(rows)
    assert packed["input_ids"].tolist() == [[21, 22, 23, 24, 11, 12, 13], [31, 32, 33, 0, 0, 0, 0]]
    assert packed["position_ids"].tolist() == [[0, 1, 2, 3, 0, 1, 2], [0, 1, 2, 0, 1, 2, 3]]
    assert packed["row"].tolist() == [5, 4, 6]
    assert int(packed["attention_mask"].sum()) == int(plain["attention_mask"].sum()) == 10
    assert packed["labels"][packed["labels"] != IGNORED].tolist() == [23, 24, 13, 33]


def test_operations_are_counted_by_what_is_trained() -> None:
    model = torch.nn.ModuleDict({"embed": torch.nn.Embedding(9, 4), "layer": torch.nn.Linear(4, 5)})
    assert throughput.weights(model) == (0, 20)
    model["layer"].weight.requires_grad = False
    assert throughput.weights(model) == (20, 0)
    assert throughput.operations(100, 10) == 460


def test_no_share_of_a_peak_that_nobody_knows() -> None:
    assert throughput.peak("NVIDIA H200", bf16=True, given=None) == 989.0
    assert throughput.peak("NVIDIA H200", bf16=False, given=None) is None
    assert throughput.peak("", bf16=True, given=None) is None
    assert throughput.peak("NVIDIA L40S", bf16=True, given=100.0) == 100.0
    assert throughput.utilization(1e3, 1e9, 2.0) == pytest.approx(0.5)
    assert throughput.utilization(1e3, 1e9, None) is None


SPEC = TrainingSpec(base="b", dataset="d", out="o", lr=3e-3, keep_weight=0.5)


def test_a_sweep_tries_the_settings_own_values_first_and_each_once() -> None:
    grid = msgspec.structs.replace(SPEC, sweep=Sweep(steps=5, seconds=9, lr=(1e-3, 3e-3), keep_weight=(0.5, 1.0)))
    found = [(each["lr"], each["keep_weight"]) for each in options(grid)]
    assert found == [(3e-3, 0.5), (1e-3, 0.5), (1e-3, 1.0), (3e-3, 1.0)]
    assert len(options(SPEC)) == 1


def test_a_tenth_of_the_questions_judges_and_none_where_that_is_too_few() -> None:
    rows = [Row(f"question {n % 150}", f"answer {n}") for n in range(300)]
    trying, judging = parted(rows)
    assert 10 < len(judging) < 60
    assert not {row.prompt for row in trying} & {row.prompt for row in judging}
    assert parted(rows[:8]) == (rows[:8], [])


def test_trials_end_when_their_time_is_up_and_the_best_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    losses = iter([0.9, 0.4, 0.7])
    monkeypatch.setattr(sweep, "mean_loss", lambda model, tokenizer, rows: next(losses))
    rows = [Row(f"question {n}", "a") for n in range(200)]
    tried: list[TrainingSpec] = []

    def train(spec: TrainingSpec, some: object) -> None:
        tried.append(spec)

    wide = msgspec.structs.replace(SPEC, sweep=Sweep(steps=5, seconds=100, lr=(1e-3, 1e-2)))
    chosen, trials = sweep.swept(wide, None, rows, train)
    assert [each.steps for each in tried] == [5, 5, 5]
    assert [trial.loss for trial in trials] == [0.9, 0.4, 0.7]
    assert (chosen.lr, chosen.keep_weight, chosen.steps, chosen.sweep.steps) == (1e-3, 0.5, SPEC.steps, 0)
    losses = iter([0.9])
    hasty = msgspec.structs.replace(SPEC, sweep=Sweep(steps=5, seconds=0, lr=(1e-3, 1e-2)))
    assert [trial.lr for trial in sweep.swept(hasty, None, rows, train)[1]] == [3e-3]


def test_settings_of_a_recipe_that_cannot_be_are_refused_with_their_names() -> None:
    for recipe, words in (
        ({"kind": "dpo", "keep_weight": 1.0}, "recipe dpo has no keep_weight"),
        ({"kind": "kto", "packing": True}, "recipe kto has no packing"),
        ({"kind": "kto", "sweep": {"learning_rate": [1e-3]}}, "recipe kto has no sweep"),
        ({"teacher": "models/large"}, "recipe sft asks no teacher"),
        ({"sweep": {"learning_rate": [2.0]}}, "2 is no learning rate"),
        ({"sweep": {"keep_weight": [-1.0]}}, "-1 is no such weight"),
    ):
        with pytest.raises(ValidationError, match=words):
            RetrainSettings.model_validate({"recipe": recipe})
