"""``tidemill data``: a data set is found by job or version, shown without its content, compared and written out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner, Result

from retrain.datasets import dvc
from retrain.datasets.dataset import DataSet, build
from retrain.datasets.rows import Row
from retrain.snapshot import write_folder
from retrain.whole import write_json
from tests.unit.retrain.made import NOW, rules
from tests.unit.retrain.poisoned import call
from tidemill.cli import context
from tidemill.cli.main import app
from tidemill.errors import Stop

Run = Callable[..., Result]
SETTINGS = "engines: {local: {}}\npipelines: {s: {engine: local, champion: s-v1}}\n"
FIRST, SECOND = "aa11" + "0" * 28, "ab22" + "0" * 28


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Runs ``tidemill data`` on a folder with two data sets, of which the second became a version."""
    file = tmp_path / "tidemill.yaml"
    file.write_text(
        f"data_dir: {tmp_path}\nengines: {{local: {{}}}}\npipelines: {{s: {{engine: local, champion: s-v1}}}}\n"
    )
    make(tmp_path, FIRST, "", NOW, 120, "old")
    make(tmp_path, SECOND, "s-v2", NOW + 1_000, 130, "new", holdout_share=0.4)

    file = tmp_path / "tidemill.yaml"
    file.write_text(f"data_dir: {tmp_path}\n{SETTINGS}")

    def invoke(*command: str) -> Result:
        arguments = ["--settings", str(file), "data", *command]
        return CliRunner().invoke(app, arguments, catch_exceptions=False, env={"COLUMNS": "200"})

    yield invoke
    context.use(None)


def make(root: Path, job: str, version: str, until_ms: int, calls: int, seventh: str, **changes: Any) -> None:
    told = [call(n, "acme", seventh if n == 7 else f"secret {n}", "audit") for n in range(calls)]
    made, by = build(told, [], [], rules(**changes)), rules(**changes)
    manifest = {
        **{"digest": made.digest, "counts": made.counts, "notes": ["tenant 'x' left out: 9 of 9"], "rules": by},
        **{"origins": made.origins, "pipeline": "s", "change_ms": until_ms - 5_000, "until_ms": until_ms},
    }
    folder = root / "jobs" / job
    write_folder(folder / "data", made, manifest)
    if version:
        (folder / "register").mkdir()
        write_json(folder / "register" / "result.json", {"version": version})


def test_all_are_listed_newest_first(run: Run) -> None:
    lines = run("show").output.splitlines()
    assert [line.split()[2:5] for line in lines[1:]] == [
        [SECOND[:8], "s-v2", "s"],
        [FIRST[:8], "s", lines[2].split()[4]],
    ]
    found = json.loads(run("show", "--json").output)["data_sets"]
    assert [each["job_id"] for each in found] == [SECOND, FIRST]


def test_a_data_set_is_shown_without_what_was_asked(run: Run) -> None:
    shown = run("show", "s-v2").output
    assert "tenant 'x' left out" in shown and "acme" in shown and "the files are as they were made" in shown
    assert "secret" not in shown and "question" not in shown
    assert "secret" not in run("show", "s-v2", "--json").output
    assert run("show", "s-v2", "--content", "--limit", "2").output.count(" => ") == 4
    found = json.loads(run("show", "aa11", "--json", "--content").output)
    assert (found["job_id"], found["intact"], len(found["examples"]["train"])) == (FIRST, True, 5)


def test_what_the_remote_has_is_shown(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "DVC: no remote is set" in run("show", "s-v2").output
    with pytest.raises(Stop, match=r"dvc\.remote is empty"):
        run("push")
    monkeypatch.setenv("TIDEMILL_DVC__REMOTE", "s3://bucket/sets")
    monkeypatch.setenv("TIDEMILL_DVC_PYTHON", str(tmp_path / "none"))
    assert "DVC: NOT IN THE REMOTE YET; `tidemill data push`" in run("show", "s-v2").output
    with pytest.raises(Stop, match="DVC's environment is missing"):
        run("push", "s-v2")
    assert json.loads(run("show", "s-v2", "--json").output)["dvc"] is None
    digest = json.loads((tmp_path / "jobs" / SECOND / "data" / "manifest.json").read_bytes())["digest"]
    pointer = dvc.Pointer(hash="ab12" * 8 + ".dir", meta={"digest": digest, "remote": "s3://bucket/sets"})
    dvc.write(tmp_path / "jobs" / SECOND / "data.dvc", pointer)
    assert f"DVC: {pointer.hash} in s3://bucket/sets" in run("show", "s-v2").output
    assert json.loads(run("show", "s-v2", "--json").output)["dvc"]["hash"] == pointer.hash
    assert [line.split()[-1] for line in run("show").output.splitlines()[1:2]] == [pointer.hash[:12]]
    assert [each["dvc"] for each in json.loads(run("show", "--json").output)["data_sets"]] == [pointer.hash, None]
    with pytest.raises(Stop, match=r"data is there; see `tidemill data show"):
        run("pull", "s-v2")


IN_DVCS_PLACE = """#!/bin/sh
case "$*" in
*" init "*) mkdir .dvc ;;
*" add "*) printf 'outs:\\n- {md5: abcd.dir, size: 5, nfiles: 3}\\n' > data.dvc ;;
esac
"""


def test_a_data_set_that_cannot_be_pushed_does_not_keep_the_others_back(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "python").write_text(IN_DVCS_PLACE)
    (tmp_path / "python").chmod(0o700)
    (tmp_path / "sets").mkdir()
    monkeypatch.setenv("TIDEMILL_DVC_PYTHON", str(tmp_path / "python"))
    monkeypatch.setenv("TIDEMILL_DVC__REMOTE", str(tmp_path / "sets"))
    (tmp_path / "jobs" / SECOND / "data" / "train.jsonl").write_bytes(b"")
    said = f"^1 of 2 data sets were pushed; job {SECOND[:8]}: .* is not what its manifest's digest says"
    with pytest.raises(Stop, match=said):
        run("push")
    assert (tmp_path / "jobs" / FIRST / "data.dvc").is_file(), "older than the bad one"
    assert not (tmp_path / "jobs" / SECOND / "data.dvc").exists()


def test_a_changed_file_is_noticed_and_not_exported(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "jobs" / SECOND / "data" / "train.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    assert "HAVE BEEN CHANGED" in run("show", "s-v2").output
    with pytest.raises(Stop, match="not what its manifest's digest says"):
        run("export", "s-v2", "--out", str(tmp_path / "out"))


def test_two_are_compared_by_prompt(run: Run) -> None:
    found = json.loads(run("diff", "aa11", "s-v2", "--json").output)
    assert found["rules"] == {"holdout_share": ["0.3", "0.4"]}
    both = [found[part] for part in ("train", "verified")]
    assert sum(each["changed"] for each in both) == 1
    assert sum(each["only_second"] - each["only_first"] for each in both) == 10
    assert "secret" not in run("diff", "aa11", "s-v2").output
    shown = run("diff", "aa11", "s-v2", "--content", "--limit", "1000").output
    assert "question 7 => old -> new" in shown and "holdout_share: 0.3, then 0.4" in shown
    assert shown.count("only s-v2: ") == sum(each["only_second"] for each in both)
    same = json.loads(run("diff", "s-v2", "s-v2", "--json", "--content").output)["train"]
    assert (same["only_first"], same["only_second"], same["changed"], same["rows_changed"]) == (0, 0, 0, [])


@pytest.mark.parametrize(("form", "first"), [("prompt", {"prompt", "completion"}), ("chat", {"messages"})])
def test_it_is_written_out_with_its_manifest(run: Run, tmp_path: Path, form: str, first: set[str]) -> None:
    out = tmp_path / "out" / "rows"
    done = json.loads(run("export", "s-v2", "--out", str(out), "--format", form, "--json").output)
    rows = [json.loads(line) for line in (out / "train.jsonl").read_text().splitlines()]
    assert (len(rows), set(rows[0])) == (done["train"], first)
    assert json.loads((out / "manifest.json").read_text())["digest"] == done["digest"]
    if form == "chat":
        assert [each["role"] for each in rows[0]["messages"]] == ["user", "assistant"]
    with pytest.raises(Stop, match="is there already"):
        run("export", "s-v2", "--out", str(out))
    with pytest.raises(Stop, match="choose prompt or chat"):
        run("export", "s-v2", "--out", str(out), "--format", "csv")


JUDGED = tuple(Row(prompt=f"q {n}", completion="a", liked=n % 2 == 0) for n in range(4))
PAIRS = tuple(Row(prompt=f"q {n}", completion="right", rejected=f"wrong {n}") for n in range(4))
ASKED = (Row(prompt="q 0", completion="a"), Row(prompt="q 1", completion=""))


def frozen(root: Path, job: str, train: tuple[Row, ...]) -> None:
    """A data set of a recipe that learns from something else than labels."""
    made = DataSet(train=train, verified=(Row(prompt="v", completion="yes"),), counts={"train": len(train)})
    manifest = {"digest": made.digest, "counts": made.counts, "pipeline": "s", "change_ms": NOW, "until_ms": NOW}
    write_folder(root / "jobs" / job / "data", made, manifest)


def flipped(row: Row) -> Row:
    return replace(row, liked=not row.liked) if row.rejected == "" else replace(row, rejected="quite another")


@pytest.mark.parametrize(
    ("rows", "shown"),
    [(JUDGED, "q 3 => a (disliked) -> a (liked)"), (PAIRS, "q 3 => right (rather than wrong 3) -> right (rather than")],
)
def test_a_flipped_thumb_and_another_rejected_answer_are_changes(
    run: Run, tmp_path: Path, rows: tuple[Row, ...], shown: str
) -> None:
    frozen(tmp_path, "cc33", rows)
    frozen(tmp_path, "dd44", (*rows[:3], flipped(rows[3])))
    found = json.loads(run("diff", "cc33", "dd44", "--json", "--content").output)["train"]
    assert (found["same"], found["changed"], found["only_first"], found["only_second"]) == (3, 1, 0, 0)
    assert found["rows_changed"][0]["before"] == [json.loads(msgspec.json.encode(rows[3]))]
    assert f"train, changed: {shown}" in run("diff", "cc33", "dd44", "--content").output
    assert run("show", "cc33", "--content").output.count("liked)" if rows is JUDGED else "rather than") == 4


@pytest.mark.parametrize(
    ("rows", "first", "last"),
    [
        (JUDGED, {"prompt": ["q 0"], "completion": ["a"], "label": True}, {"label": False}),
        (PAIRS, {"prompt": ["q 0"], "chosen": ["right"], "rejected": ["wrong 0"]}, {"rejected": ["wrong 3"]}),
        (ASKED, {"messages": ["q 0", "a"]}, {"messages": ["q 1"]}),
    ],
)
def test_what_was_disliked_is_not_written_out_as_right(
    run: Run, tmp_path: Path, rows: tuple[Row, ...], first: dict[str, Any], last: dict[str, Any]
) -> None:
    frozen(tmp_path, "cc33", rows)
    run("export", "cc33", "--out", str(tmp_path / "out"), "--format", "chat")
    found = [
        {key: [each["content"] for each in value] if isinstance(value, list) else value for key, value in row.items()}
        for row in map(json.loads, (tmp_path / "out" / "train.jsonl").read_text().splitlines())
    ]
    assert found[0] == first
    assert found[-1] | last == found[-1]
    run("export", "cc33", "--out", str(tmp_path / "plain"))
    assert (tmp_path / "plain" / "train.jsonl").read_bytes().splitlines() == [msgspec.json.encode(row) for row in rows]


def test_what_is_not_there_is_said_with_what_is(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"no data set of a job or version 's-v9'.*there are s-v2, aa110000"):
        run("show", "s-v9")
    with pytest.raises(Stop, match=r"begins the ids of 2 jobs"):
        run("show", "a")
    (tmp_path / "jobs" / "cc33" / "snapshot").mkdir(parents=True)
    with pytest.raises(Stop, match="job cc33 has no data set: it has not collected"):
        run("show", "cc")
    write_json(tmp_path / "jobs" / "cc33" / "snapshot" / "result.json", {"refused": "9 distinct labelled prompts"})
    with pytest.raises(Stop, match="job cc33 has no data set: 9 distinct labelled prompts"):
        run("show", "cc33")


def test_without_any_it_says_where_they_come_from(tmp_path: Path) -> None:
    file = tmp_path / "tidemill.yaml"
    file.write_text(
        f"data_dir: {tmp_path}\nengines: {{local: {{}}}}\npipelines: {{s: {{engine: local, champion: s-v1}}}}\n"
    )
    with pytest.raises(Stop, match="a job makes one when it has collected its labels"):
        CliRunner().invoke(app, ["--settings", str(file), "data", "show"], catch_exceptions=False)


def test_help_has_an_example(run: Run) -> None:
    for command in ("show", "diff", "export", "push", "pull"):
        assert f"Example: tidemill data {command} " in run(command, "--help").output
