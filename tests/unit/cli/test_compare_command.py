"""``tidemill compare`` and ``tidemill lineage`` say what is wrong before they begin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from retrain.lineage.look import Looker
from tests.unit.retrain.test_shared_figures import answering, compared, serving
from tidemill.cli import context
from tidemill.cli.main import app
from tidemill.errors import Stop
from tidemill.io.clickhouse import Store
from tidemill.settings import load_settings

Run = Callable[..., None]
PIPELINES = "pipelines: {a: {engine: local, champion: a-v1}, b: {engine: local, champion: b-v1}}"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Settings of two pipelines."""
    made = tmp_path / "tidemill.yaml"
    made.write_text(f"data_dir: {tmp_path}\nengines: {{local: {{}}}}\n{PIPELINES}\n")
    return made


@pytest.fixture
def run(file: Path) -> Iterator[Run]:
    """Runs a command on them."""

    def invoke(*command: str) -> None:
        print(CliRunner().invoke(app, ["--settings", str(file), *command], catch_exceptions=False).output)

    yield invoke
    context.use(None)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("a",), "nothing to share by one pipeline"),
        (("a", "c"), "there is no pipeline 'c'; choose one of a, b"),
        (("a", "b", "--rows", "c=x.jsonl"), r"--rows 'c=x.jsonl': write PIPELINE=FILE.jsonl with one of a, b"),
        (("a", "b", "--rows", "a"), r"--rows 'a': write"),
        ((), "pipeline 'a' has no data set yet"),
    ],
)
def test_a_comparison_that_cannot_be_made_says_why(run: Run, command: tuple[str, ...], said: str) -> None:
    with pytest.raises(Stop, match=said):
        run("compare", "shared", *command)


@pytest.mark.parametrize("form", [(), ("--json",)])
def test_a_comparison_says_that_transformers_answered_and_not_vllm(
    run: Run, form: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = compared(serving(answering(), answering()), serving(answering(), answering()))
    monkeypatch.setattr("retrain.shared.sources.pipelines_of", lambda *_, **__: [])
    monkeypatch.setattr("retrain.shared.run.compare", lambda *_, **__: measured)
    run("compare", "shared", "a", "b", *form)
    said = " ".join(capsys.readouterr().out.split())
    assert "transformers answered, each arrangement in one process" in said and "(multi-LoRA) was not measured" in said


def test_lineage_needs_a_stack_and_a_name_that_is_one(run: Run, file: Path) -> None:
    with pytest.raises(Stop, match="no stack is running on"):
        run("lineage", "a-v1")
    settings = load_settings(file, {})
    with pytest.raises(Stop, match=r"'nonsense' is neither a call .* nor a version, such as a-v2"):
        Looker(settings, Store(settings)).lineage("nonsense")
