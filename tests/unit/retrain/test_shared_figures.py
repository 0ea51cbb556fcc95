"""Which arrangement is better where follows from the figures; what is close is called equal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.shared import pipeline, result
from retrain.datasets.dataset import DataSet, build
from retrain.datasets.rows import Row
from retrain.shared.figures import Answering, Compared, Serving, Training, advice, busy, findings, growth, paired
from retrain.shared.run import compare
from retrain.shared.sources import pipelines_of
from retrain.snapshot import write_folder
from tests.unit.retrain.made import NOW, rules
from tests.unit.retrain.poisoned import call
from tidemill.errors import Stop
from tidemill.settings import Settings


def answering(right: int = 80, **changes: Any) -> Answering:
    scores: list[float | None] = [*[1.0] * right, *[0.0] * (100 - right)]
    return Answering(**{"scores": scores, "p50_ms": 20.0, "p95_ms": 30.0, "cpu_ms": 18.0, **changes})


def serving(one: Answering, other: Answering, **changes: Any) -> Serving:
    given = {"weights_mb": 10.0, "resident_mb": 30.0, "mixed_per_s": 100.0, "mixed_cpu_ms": 10.0}
    return Serving(**{**given, "pipelines": {"a": one, "b": other}, **changes})


def compared(shared: Serving, separate: Serving, price: float | None = None) -> Compared:
    adapters = {name: Training(cpu_s=20.0, rows=100, version_mb=1.0) for name in ("a", "b")}
    models = {name: Training(cpu_s=19.0, rows=100, version_mb=8.0) for name in ("a", "b")}
    return Compared(
        serving={"shared": shared, "separate": separate},
        training={"shared": adapters, "separate": models},
        usd_per_cpu_hour=price,
    )


def test_each_pipeline_has_its_own_winner() -> None:
    shared = serving(answering(80), answering(90, p50_ms=40.0))
    found = findings(compared(shared, serving(answering(50), answering(90), weights_mb=16.0)))
    by = {(each.pipeline, each.aspect): each for each in found}
    assert by["a", "quality"].better == "shared" and by["a", "quality"].why.startswith("+0.300 ± 0.090")
    assert by["b", "quality"].better == "neither" and by["b", "latency, typical"].better == "separate"
    assert by["b", "latency, typical"].why == "2.0 times"
    assert by["a", "a training"].better == "neither", "5 % are no difference"
    assert by["a", "a version to keep"].better == "shared"
    assert (by["", "weights"].better, by["", "memory"].better) == ("shared", "neither")
    told = advice(found)
    assert told[0] == "a: shared, as its answers are better (0.800 shared, 0.500 separate)"
    assert told[1].startswith("b: either: no difference in quality is shown (+0.000 ± 0.000")
    assert told[2] == "together: shared is better by weights; separate by nothing"


def test_worse_answers_outweigh_everything_else() -> None:
    shared = serving(answering(50), answering(), mixed_per_s=500.0)
    told = advice(findings(compared(shared, serving(answering(80, p50_ms=90.0), answering()))))
    assert told[0].startswith("a: separate, as its answers are better")
    assert told[1] == (
        "b: shared: no difference in quality is shown (+0.000 ± 0.000 on 100 questions), and it is better by "
        "a version to keep"
    )


def test_a_cost_is_money_where_an_hour_has_a_price() -> None:
    both = serving(answering(), answering()), serving(answering(), answering(), mixed_cpu_ms=20.0)
    assert findings(compared(*both))[-1].shared == "10.0 CPU s"
    priced = findings(compared(*both, price=3.6))[-1]
    assert (priced.shared, priced.separate, priced.better) == ("0.01000 USD", "0.02000 USD", "shared")


def test_a_busy_machine_is_said() -> None:
    quiet = serving(answering(), answering())
    assert busy(compared(quiet, quiet)) == ""
    said = busy(compared(quiet, serving(answering(), answering(p50_ms=90.0))))
    assert "took up to 5.0 times its CPU time" in said


def test_absent_scores_are_no_zeros() -> None:
    assert paired([None, 1.0], [1.0, None]) is None
    assert paired([1.0, None, 1.0], [0.0, 1.0, 1.0]) == (0.5, 0.5)
    nothing = Answering(scores=[None], p50_ms=1, p95_ms=1, cpu_ms=1)
    found = findings(compared(serving(nothing, nothing), serving(nothing, nothing)))
    assert (found[0].shared, found[0].better, found[0].why) == ("unknown", "neither", "no answer could be compared")


def test_weights_grow_by_an_adapter_or_by_a_model() -> None:
    both = compared(serving(answering(), answering(), weights_mb=10.0), serving(answering(), answering()))
    assert growth(both) == {1: (9.0, 8.0), 2: (10.0, 16.0), 5: (13.0, 40.0), 10: (18.0, 80.0)}


def test_the_page_has_both_tables() -> None:
    made = result(compared(serving(answering(), answering()), serving(answering(), answering())), (300, 130, 150))
    assert [len(table.rows) for table in made.tables] == [17, 4] and made.page.name == "shared-or-separate.md"
    assert '"bench": "shared"' in made.line() and "300 fresh labels" in made.notes[-1]


def test_the_demos_questions_are_none_that_were_trained_on() -> None:
    for name in ("schedule", "support"):
        made = pipeline(name, 60, 20, 30)
        assert (len(made.train), len(made.test)) == (80, 30)
        assert not {row.prompt for row in made.train} & {row.prompt for row in made.test}


def test_rows_come_from_the_newest_data_set_or_a_file(tmp_path: Path) -> None:
    pipelines = {name: {"engine": "local", "champion": f"{name}-v1"} for name in ("a", "b")}
    settings = Settings.model_validate({"data_dir": str(tmp_path), "engines": {"local": {}}, "pipelines": pipelines})
    with pytest.raises(Stop, match=r"'a' has no data set yet.*--rows a=FILE"):
        pipelines_of(settings, ["a", "b"], {}, quick=True)
    made = build([call(n, "acme", f"label {n}", "audit") for n in range(120)], [], [], rules())
    manifest = {"digest": made.digest, "counts": made.counts, "pipeline": "a", "until_ms": NOW}
    write_folder(tmp_path / "jobs" / "aa11" / "data", made, manifest)
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"prompt": "question {n}", "completion": "x"}}\n' for n in range(100)))
    one, other = pipelines_of(settings, ["a", "b"], {"b": file}, quick=True)
    assert (len(one.train), len(one.test), one.training["steps"]) == (len(made.train), 12, 10)
    assert len(other.train) > 70 and 0 < len(other.test) <= 12
    with pytest.raises(Stop, match="line 1"):
        file.write_text("no row\n")
        pipelines_of(settings, ["a", "b"], {"b": file}, quick=True)


def test_rows_that_teach_no_answer_are_left_out(tmp_path: Path) -> None:
    pipelines = {"a": {"engine": "local", "champion": "a-v1"}}
    settings = Settings.model_validate({"data_dir": str(tmp_path), "engines": {"local": {}}, "pipelines": pipelines})
    rows = (Row(prompt="q", completion="y", liked=True), Row(prompt="r", completion="n", liked=False))
    made = DataSet(train=(*rows, Row(prompt="s", completion="")), verified=(Row(prompt="v", completion="y"),))
    manifest = {"digest": made.digest, "counts": {}, "pipeline": "a", "until_ms": NOW}
    write_folder(tmp_path / "jobs" / "aa11" / "data", made, manifest)
    (found,) = pipelines_of(settings, ["a"], {}, quick=True)
    assert [row.prompt for row in found.train] == ["q"]


def test_pipelines_of_other_bases_share_nothing(tmp_path: Path) -> None:
    engines = {"one": {"base_dir": str(tmp_path / "1")}, "two": {"base_dir": str(tmp_path / "2")}}
    pipelines = {name: {"engine": name, "champion": f"{name}-v1"} for name in engines}
    settings = Settings.model_validate({"engines": engines, "pipelines": pipelines})
    with pytest.raises(Stop, match="have other bases"):
        pipelines_of(settings, ["one", "two"], {}, quick=True)


def test_too_few_rows_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"'schedule' has 4 rows to train on and 3 to be judged by"):
        compare([pipeline("schedule", 3, 1, 3)], tmp_path, tmp_path, lambda _: None)
