"""Each recipe learns: a tiny model, some seconds of real torch, TRL and PEFT."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from producers.language import generate
from retrain.train.spec import Sweep, TrainingResult, TrainingSpec
from retrain.trials import made_for

pytestmark = pytest.mark.timeout(300)
QUESTIONS = [f"{verb} the {thing}" for verb in ("book", "cancel", "find") for thing in ("room", "car", "trip", "desk")]
RIGHT, WRONG = "yes, done", "no, sorry"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers every question with one of two phrases, both as likely."""
    import torch

    from retrain.model.base import train_base

    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("base")
    rows = [{"prompt": q, "completion": answer} for q in QUESTIONS for answer in (RIGHT, WRONG)] * 4
    rows += [{"prompt": each.text, "completion": RIGHT} for each in generate("support", "plain", Random(0), 40)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    train_base(folder / "rows.jsonl", folder / "model", steps=25, batch=16, threads=1)
    return folder / "model"


def trained(base: Path, folder: Path, rows: Sequence[Mapping[str, Any]], **changed: Any) -> tuple[TrainingResult, Path]:
    from retrain.train.run import train

    folder.mkdir(exist_ok=True)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    spec = TrainingSpec(base=str(base), dataset=str(folder / "rows.jsonl"), out=str(folder / "out"), steps=15, batch=8)
    return train(msgspec.structs.replace(spec, **changed), folder / "out"), folder / "out"


def leaning(base: Path, adapter: Path | None) -> float:
    """How much likelier the right phrase is than the wrong one: the mean logarithm."""
    import torch
    from transformers import AutoTokenizer

    from retrain.model.answers import loaded
    from retrain.model.examples import Row, encode, ids_with
    from retrain.train.keep import answer_logits

    model, ids_of = loaded(base, adapter), ids_with(AutoTokenizer.from_pretrained(base))

    def logarithm(question: str, answer: str) -> float:
        each = encode([Row(question, answer)], ids_of, 192).examples[0]
        with torch.inference_mode():
            logits, labels = answer_logits(model, torch.tensor([each.ids]), torch.tensor([each.labels()]))
        return float(torch.log_softmax(logits, -1).gather(-1, labels[:, None]).sum())

    return sum(logarithm(q, RIGHT) - logarithm(q, WRONG) for q in QUESTIONS) / len(QUESTIONS)


LABELLED = [{"prompt": question, "completion": RIGHT} for question in QUESTIONS]


def test_sft_learns_and_says_how_fast(base: Path, tmp_path: Path) -> None:
    result, adapter = trained(base, tmp_path / "a", LABELLED, peak_tflops=0.5)
    assert leaning(base, adapter) > leaning(base, None) + 2
    assert result.tokens_per_s > 0
    assert result.mfu is not None
    assert 0 < result.mfu < 1


def test_a_sweep_takes_the_rate_that_learns_and_leaves_the_rest_of_the_time(base: Path, tmp_path: Path) -> None:
    sweep = Sweep(steps=6, seconds=60, lr=(1e-7, 5e-3))
    rows = [{"prompt": f"{question} {number}", "completion": RIGHT} for question in QUESTIONS for number in range(12)]
    result, adapter = trained(base, tmp_path / "a", rows, lr=1e-7, sweep=sweep)
    assert [trial.lr for trial in result.trials] == [1e-7, 5e-3]
    assert result.trials[1].loss < result.trials[0].loss
    assert result.lr == 5e-3
    assert leaning(base, adapter) > leaning(base, None) + 2
    assert made_for(adapter) == [msgspec.to_builtins(trial) for trial in result.trials], "as the registry reads them"
    none, unswept = trained(base, tmp_path / "b", rows[:8], sweep=sweep)
    assert (none.trials, none.lr, made_for(unswept)) == ((), 5e-3, [])


def test_packed_rows_teach_what_plain_ones_do(base: Path, tmp_path: Path) -> None:
    plain, _ = trained(base, tmp_path / "plain", LABELLED, steps=4)
    packed, _ = trained(base, tmp_path / "packed", LABELLED, steps=4, packing=True)
    assert packed.tokens == plain.tokens
    assert packed.loss == pytest.approx(plain.loss, rel=1e-3)


def test_half_numbers_and_kept_memory_learn_too(base: Path, tmp_path: Path) -> None:
    result, adapter = trained(base, tmp_path / "a", LABELLED, bf16=True, gradient_checkpointing=True)
    assert result.mfu is None  # of this processor nobody knows the peak
    assert leaning(base, adapter) > leaning(base, None) + 2


def test_what_the_champion_knew_is_kept(base: Path, tmp_path: Path) -> None:
    _, champion = trained(base, tmp_path / "champion", LABELLED, steps=25)
    others = [{"prompt": f"is the {word} free?", "completion": "ask again"} for word in ("hall", "lift", "roof")]
    rows = [*others * 4, *LABELLED]
    free, unheld = trained(base, tmp_path / "free", rows, champion=str(champion))
    kept, held = trained(base, tmp_path / "kept", rows, champion=str(champion), keep_weight=2.0)
    assert free.known_rows is None
    assert kept.known_rows == len(QUESTIONS)
    known = leaning(base, champion)
    assert abs(leaning(base, held) - known) < abs(leaning(base, unheld) - known) / 2


def test_a_training_goes_on_from_the_champion_also_with_more_rank(base: Path, tmp_path: Path) -> None:
    _, champion = trained(base, tmp_path / "champion", LABELLED, steps=25)
    known = leaning(base, champion)
    _, still = trained(base, tmp_path / "a", LABELLED, steps=1, lr=1e-9, champion=str(champion), start="champion")
    more = {"rank": 20, "alpha": 20, "champion": str(champion), "start": "champion"}
    _, wider = trained(base, tmp_path / "b", LABELLED, steps=1, lr=1e-9, **more)
    assert leaning(base, still) == pytest.approx(known, abs=1e-3)
    assert leaning(base, wider) == pytest.approx(known, abs=1e-3)


def test_full_trains_every_weight_of_a_model_that_stands_alone(base: Path, tmp_path: Path) -> None:
    result, model = trained(base, tmp_path / "a", LABELLED, kind="full", lr=1e-3)
    assert leaning(model, None) > leaning(base, None) + 2
    assert {"config.json", "tokenizer.json", "model.safetensors", "generation_config.json"} <= {
        file.name for file in model.iterdir()
    }
    assert result.kind == "full"


def test_dpo_prefers_the_correction(base: Path, tmp_path: Path) -> None:
    pairs = [{"prompt": question, "completion": RIGHT, "rejected": WRONG} for question in QUESTIONS]
    _, adapter = trained(base, tmp_path / "a", pairs, kind="dpo", lr=2e-3)
    assert leaning(base, adapter) > leaning(base, None) + 2
    _, further = trained(base, tmp_path / "b", pairs, kind="dpo", lr=2e-3, champion=str(adapter))
    assert leaning(base, further) > leaning(base, adapter)
    assert {file.name for file in further.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "result.json",
    }


def test_kto_learns_from_thumbs(base: Path, tmp_path: Path) -> None:
    thumbs = [
        {"prompt": question, "completion": answer, "liked": answer == RIGHT}
        for question in QUESTIONS
        for answer in (RIGHT, WRONG, WRONG)
    ]
    _, adapter = trained(base, tmp_path / "a", thumbs, kind="kto", lr=5e-3, beta=0.5)
    assert leaning(base, adapter) > leaning(base, None) + 1


def test_distill_learns_what_the_teacher_answers(base: Path, tmp_path: Path) -> None:
    _, teacher = trained(base, tmp_path / "teacher", LABELLED, kind="full", lr=1e-3, steps=25)
    asked = [{"prompt": question, "completion": ""} for question in QUESTIONS]
    result, student = trained(base, tmp_path / "a", asked, kind="distill", teacher=str(teacher))
    assert result.rows == len(QUESTIONS)
    assert leaning(base, student) > leaning(base, None) + 2


def test_what_cannot_be_taught_is_said(base: Path, tmp_path: Path) -> None:
    from retrain.train.rows import Untrainable

    same = [{"prompt": "q", "completion": "a", "rejected": "a"}]
    up = [{"prompt": q, "completion": "a", "liked": True} for q in QUESTIONS]
    for rows, kind, words in (
        (same, "dpo", r"0 pairs .*\(1 say the same twice"),
        (up, "kto", "none of 12 thumbs is down"),
        (LABELLED, "distill", "every row has a label"),
    ):
        with pytest.raises(Untrainable, match=words):
            trained(base, tmp_path / "a", rows, kind=kind)
    _, champion = trained(base, tmp_path / "champion", LABELLED, steps=1)
    with pytest.raises(Untrainable, match=r"of rank 16, and retrain\.rank is 8"):
        trained(base, tmp_path / "a", LABELLED, champion=str(champion), start="champion", rank=8)
    with pytest.raises(Untrainable, match=r"report_to.*pip install wandb"):
        trained(base, tmp_path / "a", LABELLED, report_to="wandb")


def test_a_merged_model_answers_as_base_and_adapter(base: Path, tmp_path: Path) -> None:
    from retrain.derived.merge import merge

    _, adapter = trained(base, tmp_path / "a", LABELLED)
    told = merge(base, adapter, tmp_path / "merged", QUESTIONS, least=1.0, max_tokens=8, threads=1)
    assert told["equal"] == len(QUESTIONS)
    assert leaning(tmp_path / "merged", None) == pytest.approx(leaning(base, adapter), abs=1e-3)
    result, further = trained(tmp_path / "merged", tmp_path / "b", LABELLED, steps=3)
    assert result.steps == 3
    assert (further / "adapter_model.safetensors").is_file()
