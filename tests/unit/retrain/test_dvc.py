"""What DVC is started with, what is kept of its words, and what happens where it is missing, slow or refuses."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from retrain.controller.main import run
from retrain.datasets import dvc
from tests.waiting import until
from tidemill.errors import Retry, Stop
from tidemill.settings import Settings
from tidemill.settings.dvc import DvcSettings


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """What stands in DVC's place: a shell script."""
    file = folder / "python"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o700)
    monkeypatch.setenv(dvc.PYTHON_VARIABLE, str(file))


def test_dvc_is_in_an_environment_of_its_own_or_where_a_variable_says() -> None:
    assert dvc.dvc_python({}).parts[-3:] == (".venv-dvc", "bin", "python")
    assert dvc.dvc_python({dvc.PYTHON_VARIABLE: "/opt/dvc/bin/python"}) == Path("/opt/dvc/bin/python")


def test_it_tells_nobody_keeps_all_in_its_folder_and_finds_its_credentials() -> None:
    made = dvc.environment({"AWS_PROFILE": "sets", "DVC_GLOBAL_CONFIG_DIR": "/home/x"}, Path("/data/dvc/work"))
    assert (made["DVC_NO_ANALYTICS"], made["AWS_PROFILE"]) == ("1", "sets")
    folders = [made[f"DVC_{name}"] for name in ("SITE_CACHE_DIR", "GLOBAL_CONFIG_DIR", "SYSTEM_CONFIG_DIR")]
    assert all(folder.startswith("/data/dvc/work/.dvc/") for folder in folders)
    told = dvc.config("s3://bucket/sets")
    assert "analytics = False" in told and "no_scm = True" in told and 'url = "s3://bucket/sets"' in told


def test_why_it_did_not_work_is_one_line_without_a_secret() -> None:
    said = (
        "WARNING: something\nERROR: failed to connect to ssh://me:pass@host/x - refused by hunter22\n"
        "ERROR: unexpected error - 3 files failed\n\nHaving any troubles? Hit us up at https://dvc.org/support\n"
    )
    told = dvc.reason(said, {"AWS_SECRET_ACCESS_KEY": "hunter22", "API_TOKEN": "x"})
    assert told == "failed to connect to ssh://host/x - refused by ***; 3 files failed"
    assert dvc.reason("one\nlast words\n", {}) == "last words"
    assert dvc.reason("", {}) == "it ended without a word"
    assert len(dvc.reason("ERROR: " + "x" * 9_000, {})) == 300


@given(
    st.from_regex(r"[0-9a-f]{32}\.dir", fullmatch=True),
    st.integers(0, 10**12),
    st.integers(0, 10**6),
    st.dictionaries(st.sampled_from(["digest", "remote", "by"]), st.text(max_size=40)),
)
def test_a_pointer_is_read_as_it_was_written(hash_: str, size: int, files: int, meta: dict[str, str]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        made = dvc.Pointer(hash=hash_, size=size if files else 0, files=files, meta=meta)
        dvc.write(Path(folder) / dvc.POINTER, made)
        assert dvc.read(Path(folder) / dvc.POINTER) == made


@pytest.mark.parametrize(
    "text", ["", "outs: []", "outs: [{path: data}]", "outs: 5", "[", "\x00", "outs: [{md5: a, size: b}]"]
)
def test_what_is_no_pointer_is_none(tmp_path: Path, text: str) -> None:
    assert dvc.read(tmp_path / dvc.POINTER) is None
    (tmp_path / dvc.POINTER).write_text(text)
    assert dvc.read(tmp_path / dvc.POINTER) is None


def test_a_pointer_is_a_file_of_dvc(tmp_path: Path) -> None:
    dvc.write(tmp_path / dvc.POINTER, dvc.Pointer(hash="ab.dir", size=7, files=3, meta={"digest": "cd"}))
    assert yaml.safe_load((tmp_path / dvc.POINTER).read_text()) == {
        "outs": [{"md5": "ab.dir", "size": 7, "nfiles": 3, "hash": "md5", "path": "data"}],
        "meta": {"digest": "cd"},
    }


FILES = {"train.jsonl", "verified.jsonl", "manifest.json"}


def listing(*files: tuple[str, str]) -> tuple[bytes, str]:
    """A list of files as DVC writes it, and its hash."""
    made = json.dumps([{"md5": md5, "relpath": path} for path, md5 in files]).encode()
    return made, hashlib.md5(made).hexdigest() + ".dir"


def test_the_list_of_a_data_set_is_taken_and_no_other() -> None:
    good = [(name, "ab" * 16) for name in sorted(FILES)]
    made, hash_ = listing(*good)
    assert dvc.listed(made, hash_, FILES) == dict(good)
    with pytest.raises(Stop, match="is not the list of files with that hash"):
        dvc.listed(made + b" ", hash_, FILES)
    for bad in (
        [*good, ("../../escaped/owned.txt", "ab" * 16)],
        [*good[:2], ("../train.jsonl", "ab" * 16)],
        [*good[:2], ("train.jsonl", "ab/../../../../../x")],
        [*good, good[0]],
        good[:2],
    ):
        with pytest.raises(Stop, match=r"is no data set: that has just manifest\.json, train\.jsonl, verified"):
            dvc.listed(*listing(*bad), FILES)
    for other in (b"", b"{}", b"[1]", b'[{"md5": 5, "relpath": "train.jsonl"}]', b"\xff"):
        with pytest.raises(Stop, match="is no list of files"):
            dvc.listed(other, hashlib.md5(other).hexdigest() + ".dir", FILES)


def test_nothing_is_asked_for_by_what_is_no_hash(tmp_path: Path) -> None:
    for name in ("../../x", "ab" * 16, "", "ab" * 16 + ".dir/../x"):
        with pytest.raises(Stop, match="is no hash"):
            dvc.Workspace(tmp_path, 1).pull(name, FILES)


def test_a_folder_that_cannot_be_used_is_a_remote_that_is_away(tmp_path: Path) -> None:
    (tmp_path / "dvc").write_text("")
    with pytest.raises(Retry, match="dvc cannot be used: "), dvc.workspace(tmp_path / "dvc", "/remote", 1):
        raise AssertionError("nothing to work in")


def test_a_missing_program_or_plugin_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dvc.fault(DvcSettings()) == ""
    monkeypatch.setenv(dvc.PYTHON_VARIABLE, str(tmp_path / "none"))
    assert dvc.fault(DvcSettings()) == "", "nobody asks for it"
    assert "deploy/setup.py --dvc" in dvc.fault(DvcSettings(remote="sets"))
    monkeypatch.setenv(dvc.PYTHON_VARIABLE, sys.executable)
    assert f"{sys.executable} lacks dvc and dvc_gs; run" in dvc.fault(DvcSettings(remote="gs://bucket/sets"))


def test_the_role_does_not_start_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(dvc.PYTHON_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(Stop, match=r"dvc\.remote is set, and DVC's environment is missing"):
        run(Settings(data_dir=tmp_path, dvc=DvcSettings(remote="sets")))


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("exec sleep 60", "dvc init took longer than dvc.timeout_s = 0.3"),
        ("echo 'ERROR: no such bucket' >&2; exit 1", "dvc init: no such bucket"),
    ],
)
def test_a_slow_or_refusing_one_is_tried_again_by_who_wants_to_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    program(tmp_path, monkeypatch, script)
    limit_s = 0.3 if "sleep" in script else 30
    with pytest.raises(Retry, match=words), dvc.workspace(tmp_path / "dvc", "/remote", limit_s):
        raise AssertionError("nothing to work in")
    assert [file.name for file in (tmp_path / "dvc").iterdir()] == ["lock"]


def test_a_program_that_is_gone_meanwhile_is_no_passing_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(dvc.PYTHON_VARIABLE, str(tmp_path / "none"))
    with pytest.raises(Stop, match=r"deploy/setup\.py --dvc"), dvc.workspace(tmp_path / "dvc", "/remote", 1):
        raise AssertionError("nothing to work in")


def test_what_a_killed_one_has_left_running_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        tmp_path, monkeypatch, f"echo $$ > {tmp_path}/pid.part; mv {tmp_path}/pid.part {tmp_path}/pid; exec sleep 300"
    )
    imports = "from pathlib import Path; from retrain.datasets import dvc"
    inner = f"{imports}; dvc.workspace(Path({str(tmp_path)!r}) / 'dvc', '/r', 300)"
    ours = subprocess.Popen([sys.executable, "-c", f"{inner}.__enter__()"])
    left = int(until((tmp_path / "pid").is_file, within_s=60) and (tmp_path / "pid").read_text())
    try:
        ours.kill()
        ours.wait()
        with pytest.raises(Retry, match=r"on its way for 0\.3 s"), dvc.workspace(tmp_path / "dvc", "/r", 0.3):
            raise AssertionError("two at once")
    finally:
        os.kill(left, signal.SIGKILL)
    program(tmp_path, monkeypatch, "mkdir -p .dvc")
    with dvc.workspace(tmp_path / "dvc", "/r", 30):
        pass


def test_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "mkdir -p .dvc")
    with dvc.workspace(tmp_path / "dvc", "/remote", 30):
        assert "/remote" in (tmp_path / "dvc" / "work" / ".dvc" / "config").read_text()
        with pytest.raises(Retry, match=r"has been on its way for 0\.3 s"), dvc.workspace(tmp_path / "dvc", "/r", 0.3):
            raise AssertionError("taken twice")
    with (tmp_path / "dvc" / "lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
