"""Specs fit the programs that read them; scoring and results are whole."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from retrain import places
from retrain.controller import works
from retrain.datasets.fetch import question
from retrain.datasets.rows import Row
from retrain.evaluate import EvaluateSpec, mean_score, scores, spread
from retrain.model.answers import Told
from retrain.orders import Order, place, waiting
from retrain.parity import ParitySpec, temporary_name
from retrain.register import RegisterSpec
from retrain.snapshot import SnapshotSpec, read_rows
from retrain.train.spec import TrainingSpec
from retrain.work import Refused, attempt, load_settings, save_settings
from tests.unit.retrain.made import NOW, collecting, pipeline
from tidemill.errors import Retry
from tidemill.events import Score, Verdict
from tidemill.settings import Settings
from tidemill.settings.model import EngineSettings


def deployment(folder: Path) -> Settings:
    return Settings(data_dir=folder, engines={"local": EngineSettings()}, pipelines={"schedule": pipeline()})


JOB = collecting(
    phase="gating",
    data_digest="0123456789abcdef",
    adapter_digest="fedcba9876543210",
    scores={"candidate/verified": Score(n=4, mean=0.5)},
    verdicts=(Verdict(check="parity", outcome="pass"),),
    figures={"since_ms": NOW - 10_000, "until_ms": NOW, "train_loss": 0.1},
)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("snapshot", SnapshotSpec),
        ("train", TrainingSpec),
        ("evaluate", EvaluateSpec),
        ("parity", ParitySpec),
        ("register", RegisterSpec),
    ],
)
def test_specs_are_read_by_their_programs(tmp_path: Path, name: str, spec: type[msgspec.Struct]) -> None:
    made = works.work(deployment(tmp_path), JOB, name, [{"prompt": "p", "answer": "a"}])
    read = msgspec.json.decode(msgspec.json.encode(made.spec), type=spec)
    assert set(made.spec) <= set(read.__struct_fields__)
    assert made == works.work(deployment(tmp_path), JOB, name, [{"prompt": "p", "answer": "a"}])


def test_a_training_needs_what_the_floor_of_labels_leaves_to_train_on(tmp_path: Path) -> None:
    def least(train: int) -> int:
        job = replace(JOB, data_counts={"train": train})
        return int(works.work(deployment(tmp_path), job, "train", []).spec["min_rows"])

    floor = deployment(tmp_path).pipelines["schedule"].retrain.floor_labels
    assert 1 < least(10_000) < floor
    assert (least(3), least(0)) == (3, 1)


def test_a_version_after_the_first_has_its_own_folder(tmp_path: Path) -> None:
    later = replace(JOB, champion_version="schedule-v7")
    assert (
        works.work(deployment(tmp_path), later, "evaluate", []).spec["champion"] == f"{tmp_path}/adapters/schedule-v7"
    )
    assert works.work(deployment(tmp_path), JOB, "evaluate", []).spec["champion"] == ""


@pytest.mark.parametrize(
    ("version", "folder", "served"),
    [
        ("schedule-v50", "elsewhere", "schedule-v50"),
        ("schedule-v51", "", "base"),
        ("schedule-v52", "adapters/schedule-v7", "schedule-v7"),
        ("schedule-v53", "elsewhere", "schedule-v50"),
    ],
)
def test_a_declared_version_has_the_adapter_that_the_settings_say(
    tmp_path: Path, version: str, folder: str, served: str
) -> None:
    declared = {
        "schedule-v50": {"kind": "adapter", "adapter": str(tmp_path / "elsewhere")},
        "schedule-v51": {"kind": "prompt", "prompt_version": "2"},
        "schedule-v52": {"kind": "retrieval", "of": "schedule-v7", "upstream_headers": {"X-Index": "b"}},
        "schedule-v53": {"kind": "prompt", "of": "schedule-v50", "prompt_version": "3"},
    }
    engines = {"local": EngineSettings(base_model="base")}
    settings = Settings(data_dir=tmp_path, engines=engines, pipelines={"schedule": pipeline(versions=declared)})
    job, expected = replace(JOB, champion_version=version), str(tmp_path / folder) if folder else ""
    for name in ("train", "evaluate"):
        assert works.work(settings, job, name, []).spec["champion"] == expected
    assert works.work(settings, job, "parity", []).spec["champion"] == served


def test_temporary_names_differ_by_content() -> None:
    spec = ParitySpec(settings="", job_id="j" * 32, pipeline="p", adapter_dir="", adapter_digest="a" * 64, samples=[])
    other = ParitySpec(settings="", job_id="j" * 32, pipeline="p", adapter_dir="", adapter_digest="b" * 64, samples=[])
    assert temporary_name(spec) == "gate-jjjjjjjj-aaaaaaaa" != temporary_name(other)


def test_settings_survive_being_frozen(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    assert load_settings(str(save_settings(settings, tmp_path))) == settings


def test_trouble_that_passes_is_waited_for_and_a_refusal_is_a_result() -> None:
    pauses: list[float] = []
    answers = iter([Retry("away"), Retry("away", after_s=5), None])

    def do(_: int) -> dict[str, bool]:
        if (error := next(answers)) is not None:
            raise error
        return {"fine": True}

    assert attempt(0, do, pauses.append) == {"fine": True}
    assert pauses == [1.0, 5]

    def refuse(_: int) -> dict[str, bool]:
        raise Refused("too few")

    assert attempt(0, refuse, pauses.append) == {"refused": "too few"}


def test_single_questions_only() -> None:
    assert question('[{"role":"system","content":"s"},{"role":"user","content":"when?"}]') == "when?"
    assert question('[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]') is None
    assert question("[]") is None


def test_a_broken_golden_set_is_refused_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "golden.jsonl"
    file.write_text('{"prompt":"p","completion":"c"}\n{"prompt":"p"}\n')
    with pytest.raises(Refused, match=r"golden\.jsonl, line 2: .*completion"):
        read_rows(file)
    with pytest.raises(Refused, match=r"gate\.golden_set"):
        read_rows(tmp_path / "missing.jsonl")


def test_scoring_with_answers_given(tmp_path: Path) -> None:
    rows = [Row(prompt=f"q{n}", completion=f"a{n}") for n in range(4)]
    file = tmp_path / "verified.jsonl"
    file.write_bytes(b"\n".join(msgspec.json.encode(row) for row in rows))
    spec = msgspec.convert(
        works.work(deployment(tmp_path), JOB, "evaluate", []).spec | {"sets": {"verified": str(file)}}, EvaluateSpec
    )

    def load(folder: str):  # type: ignore[no-untyped-def]
        return lambda prompts: [Told(p.replace("q", "a") if folder else "wrong", 0.5) for p in prompts]

    made = scores(spec, load)
    assert made["paired"] == {"verified": [(1.0, 0.0)] * 4}
    assert made["certain"] == {"candidate": [(0.5, 1.0)] * 4, "champion": [(0.5, 0.0)] * 4}
    assert len(made["samples"]) == 4


def test_no_rows_have_no_mean() -> None:
    assert mean_score("exact_match", [], []) == {"n": 0, "mean": None}


def test_spread_takes_from_everywhere() -> None:
    samples = [{"prompt": str(n), "answer": ""} for n in range(100)]
    assert [s["prompt"] for s in spread(samples, 4)] == ["0", "25", "50", "75"]
    assert spread(samples[:3], 4) == samples[:3]


def test_orders_wait_for_the_controller(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    assert waiting(settings) == []
    order = Order(order_id="o1", pipeline="schedule", time_ms=NOW)
    file = place(settings, order)
    (file.parent / "zzz.json").write_text("not an order")
    assert [known for _, known in waiting(settings)] == [order, None]


def test_a_loss_that_is_no_number_is_left_out_of_the_curve(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    folder = places.job_dir(settings, JOB.job_id) / "train"
    folder.mkdir(parents=True)
    (folder / "stdout.jsonl").write_text('{"step":1,"of":2,"loss":2.5}\n{"step":2,"of":2,"loss":null}\n')
    spec = works.work(settings, JOB, "register", []).spec
    assert msgspec.convert(spec, RegisterSpec).losses == [(1, 2.5)]
