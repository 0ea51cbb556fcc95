"""`tidemill policy replay` says what is wrong before it reads anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from tidemill.cli import context
from tidemill.cli.policy import read_truth, replay
from tidemill.errors import SettingsError, Stop

FILE = """\
data_dir: data
engines: {local: {kind: KIND}}
pipelines: {support: {engine: local, champion: support-v1}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return settled(tmp_path, monkeypatch, "vllm")


def settled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> Path:
    file = tmp_path / "tidemill.yaml"
    file.write_text(FILE.replace("KIND", kind))
    monkeypatch.setattr(context, "_file", file)
    monkeypatch.delenv("TIDEMILL_DATA_DIR", raising=False)
    monkeypatch.delenv("TIDEMILL_CLICKHOUSE__URL", raising=False)
    return tmp_path


def test_without_a_stack_the_way_out_is_named(folder: Path) -> None:
    with pytest.raises(Stop, match=r"no stack is running on .*; start one with `tidemill up`"):
        replay(since="1h")


def test_times_pipelines_and_policies_are_checked(folder: Path) -> None:
    with pytest.raises(Stop, match="--from 1h is not before --to 2h"):
        replay(since="1h", until="2h")
    with pytest.raises(Stop, match="there is no pipeline 'nonsense'; choose one of support"):
        replay(since="1h", pipeline=["nonsense"])
    for name in ("a/eager.yaml", "b/eager.yaml"):
        (folder / name).parent.mkdir()
        (folder / name).write_text("retrain: {cooldown_s: 1}")
    with pytest.raises(Stop, match="policies are named as their files: eager is taken; rename one"):
        replay(since="1h", policy=[folder / "a/eager.yaml", folder / "b/eager.yaml"])
    with pytest.raises(Stop, match=r"--plot .*the name must end with"):
        replay(since="1h", plot=folder / "picture.txt")


def test_a_provider_trains_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settled(tmp_path, monkeypatch, "provider")
    context.settings()
    with pytest.raises(Stop, match=r"nothing is trained here: the engines of support are providers"):
        replay(since="1h")


def test_named_falls_are_read_with_any_kind_of_time(tmp_path: Path) -> None:
    file = tmp_path / "truth.yaml"
    file.write_text(
        "- {pipeline: support, from: 2026-11-27T15:11:52Z, to: 2026-11-27T15:26}\n- {pipeline: support, from: 1h}\n"
    )
    now = 1_800_000_000_000
    assert read_truth(file, now) == {
        "support": [(1_795_792_312_000, 1_795_793_160_000), (now - 3_600_000, None)],
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {pipeline: support}", "is no fall: give a list of pipeline, from"),
        ("nothing", "is no fall"),
        ("- {pipeline: support, from: 1h, till: 0s}", "is no fall"),
        ("- {pipeline: support, from: 1h, to: 2h}", "ends before it begins"),
        ("- {pipeline: support, from: noon}", "from 'noon' is no time"),
        ("a: [", "cannot be read"),
    ],
)
def test_what_is_wrong_with_named_falls_is_said(text: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "truth.yaml"
    file.write_text(text)
    with pytest.raises(Stop, match=f"truth.yaml.*{words}"):
        read_truth(file, 1_800_000_000_000)
    with pytest.raises(SettingsError, match="no such file"):
        read_truth(tmp_path / "none.yaml", 0)
