"""The pure half of training: chat format, rows, masks, batches, specs, progress."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random

import pytest

from retrain.model.batches import batches, epoch, padded
from retrain.model.chat import TEMPLATE, rendered_answer, rendered_prompt
from retrain.model.examples import IGNORED, Encoded, Row, encode, example, read_rows
from retrain.model.progress import Progress
from retrain.train.rows import TooFewRows, checked
from retrain.train.run import refuse
from retrain.train.spec import read_spec

_CHANCE = Random(4)
LENGTHS = [_CHANCE.randrange(3, 90) for _ in range(500)]


def test_an_epoch_holds_every_example_once() -> None:
    drawn = [index for batch in epoch(LENGTHS, 32, Random(1)) for index in batch]
    assert sorted(drawn) == list(range(500))


def test_batches_hold_like_lengths() -> None:
    def padding(chosen: list[list[int]]) -> int:
        return sum(max(LENGTHS[i] for i in batch) * len(batch) - sum(LENGTHS[i] for i in batch) for batch in chosen)

    order = Random(1).sample(range(500), 500)
    mixed = [order[at : at + 32] for at in range(0, 500, 32)]
    assert padding(epoch(LENGTHS, 32, Random(1))) < padding(mixed) / 4


def test_batches_go_on_over_epochs_and_repeat_by_seed() -> None:
    first = list(batches(LENGTHS, 64, 21, Random(2)))
    assert len(first) == 21
    assert first == list(batches(LENGTHS, 64, 21, Random(2)))
    assert first != list(batches(LENGTHS, 64, 21, Random(3)))


def test_nothing_to_batch_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one"):
        next(batches([], 8, 3, Random(0)))


def test_padding_is_on_the_right() -> None:
    assert padded([[1], [2, 3, 4]], 0) == [[1, 0, 0], [2, 3, 4]]


def test_the_template_renders_what_training_saw() -> None:
    from jinja2 import Environment

    template = Environment().from_string(TEMPLATE)
    user = {"role": "user", "content": "at 15:30?"}
    system = {"role": "system", "content": "You plan meetings."}
    answer = {"role": "assistant", "content": "tue 15:30"}
    assert template.render(messages=[system, user], add_generation_prompt=True) == rendered_prompt("at 15:30?")
    whole = template.render(messages=[user, answer], add_generation_prompt=False)
    assert whole == rendered_prompt("at 15:30?") + rendered_answer("tue 15:30")


def test_only_the_answer_is_learnt() -> None:
    rows = [Row("ab", "xyz")]
    one = encode(rows, lambda texts: [[ord(char) for char in text] for text in texts], 200).examples[0]
    answer = [ord(char) for char in rendered_answer("xyz")]
    assert [label for label in one.labels() if label != IGNORED] == answer
    assert one.completion_mask().count(1) == len(answer)
    assert len(one.ids) == len(one.labels()) == len(one.completion_mask())


def test_a_long_question_loses_its_beginning_not_its_marks() -> None:
    one = example([1, 3, *range(100, 150), 4], [7, 8, 2], 20)
    assert one is not None and len(one.ids) == 20
    assert one.ids[:2] == (1, 3)
    assert one.ids[-4:] == (4, 7, 8, 2)


def test_one_answer_that_is_too_long_or_empty_costs_its_own_row_only() -> None:
    rows = [Row("q", "fits"), Row("q", "x" * 400), Row("q", "fits, too"), Row("q", " \n")]
    encoded = encode(rows, lambda texts: [[ord(char) for char in text] for text in texts], 100)
    assert (len(encoded.examples), encoded.too_long, encoded.empty) == (2, 1, 1)
    assert example([1, 3, 4], list(range(17)), 20) is not None
    assert example([1, 3, 4], list(range(18)), 20) is None


def test_a_training_set_of_nothing_but_odd_answers_is_refused_in_words() -> None:
    few = Encoded([], too_long=4, empty=2)
    with pytest.raises(TooFewRows, match=r"0 rows .* at least 1 .* 4 answers are too long for 192 .* 2 are"):
        checked(few, 1, 192)
    one = example([1, 3, 4], [7, 2], 20)
    assert one is not None
    assert checked(few._replace(examples=[one]), 1, 192).too_long == 4


def test_a_refused_training_leaves_its_reason_where_the_result_belongs(tmp_path: Path) -> None:
    refuse(tmp_path / "out", "too few")
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == {"refused": "too few"}


def test_rows_are_read_from_a_file_or_a_folder(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"prompt":"q2","completion":"a2","other":1}\n\n')
    (tmp_path / "a.jsonl").write_text('{"pipeline":"p","prompt":"q1","completion":"a1"}\n')
    assert read_rows(tmp_path) == [Row("q1", "a1", "p"), Row("q2", "a2")]
    assert read_rows(tmp_path / "b.jsonl") == [Row("q2", "a2")]


def test_bad_rows_are_named(tmp_path: Path) -> None:
    file = tmp_path / "train.jsonl"
    file.write_text('{"prompt":"q","completion":"a"}\n{"prompt":"q"}\n')
    with pytest.raises(ValueError, match=r"train.jsonl, line 2.*completion"):
        read_rows(file)
    file.write_text("\n")
    with pytest.raises(ValueError, match="no rows"):
        read_rows(file)
    with pytest.raises(FileNotFoundError, match="no JSONL rows"):
        read_rows(tmp_path / "missing.jsonl")


def test_a_spec_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "spec.json"
    file.write_text(json.dumps({"base": "b", "dataset": "d", "out": "o", "steps": 5}))
    assert read_spec(file).steps == 5
    for wrong in ({"steps": 0}, {"lr": "fast"}, {"rnk": 8}):
        file.write_text(json.dumps({"base": "b", "dataset": "d", "out": "o", **wrong}))
        with pytest.raises(ValueError, match="fields are base"):
            read_spec(file)


def test_progress_says_first_and_last_step() -> None:
    out = io.StringIO()
    progress = Progress(50, out)
    for step in range(1, 51):
        progress.step(step, 1.0 / step)
    said = [json.loads(line) for line in out.getvalue().splitlines()]
    assert said[0] == {"step": 1, "of": 50, "loss": 1.0}
    assert said[-1]["step"] == 50
