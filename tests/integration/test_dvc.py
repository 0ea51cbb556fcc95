"""Data sets go to a remote by the real DVC and come back the same, whoever is killed and whatever is away meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from retrain import adapter, places, registry
from retrain.datasets import dvc, remote, snapshots
from retrain.datasets.dataset import DataSet
from retrain.datasets.rows import Row, digest_of
from retrain.register import RegisterSpec, write
from retrain.snapshot import SnapshotSpec, take, write_folder
from retrain.work import save_settings
from tests.integration.retrain_world import CLOCK, LabelledCalls, write_models, write_settings
from tests.integration.store_fixture import StoreProcess
from tests.waiting import until
from tidemill.cli import context
from tidemill.cli.main import app
from tidemill.errors import Retry, Stop
from tidemill.io.clickhouse import Store
from tidemill.settings import Settings, load_settings

pytestmark = pytest.mark.timeout(600)
NOW = CLOCK.now_ms()
JOB, OTHER = "d00d" * 8, "beef" * 8
LONG = 1_000_000
"""Characters of a label, in a data set that takes a while to push."""
PUSH = """
import sys
from pathlib import Path
from retrain import places
from retrain.datasets import remote, snapshots
from tidemill.settings import Settings
settings = Settings.model_validate({"data_dir": sys.argv[1], "dvc": {"remote": sys.argv[2]}})
remote.push(settings, snapshots.of_job(places.job_dir(settings, sys.argv[3])))
"""


@pytest.fixture(autouse=True)
def needs_dvc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real one, and a home folder that shows whether it writes there."""
    assert dvc.dvc_python().exists(), f"{dvc.dvc_python()} is missing: run python3 deploy/setup.py --dvc"
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def deployment(folder: Path, to: str | None = None) -> Settings:
    """A data folder, and a remote beside it whose name needs care in a file of settings."""
    (folder / "a remote, #1").mkdir(exist_ok=True)
    told = {"remote": str(folder / "a remote, #1") if to is None else to}
    return Settings.model_validate({"data_dir": str(folder / "data"), "dvc": told})


def frozen(settings: Settings, job: str = JOB, rows: int = 120, chars: int = 0) -> snapshots.Snapshot:
    made = [Row(prompt=f"say {n}", completion=f"{n}{'x' * chars}") for n in range(rows)]
    parts = DataSet(train=tuple(made[10:]), verified=tuple(made[:10]))
    manifest = {"digest": digest_of(parts.train, parts.verified), "counts": {}, "until_ms": NOW, "job": job}
    write_folder(places.data_dir(settings, job), parts, manifest)
    found = snapshots.of_job(places.job_dir(settings, job))
    assert found is not None
    return found


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def sent(folder: Path) -> set[str]:
    """What a local remote holds, by its place there."""
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


def test_pushed_wiped_and_pulled_it_is_the_same_and_nothing_else_was_touched(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings)
    folder, before = Path(made.folder), content(Path(made.folder))
    assert remote.tried(settings, made) == ""
    first = remote.kept(settings, JOB)
    assert first is not None and first.hash.endswith(".dir") and first.digest == made.manifest["digest"]
    assert content(folder) == before, "the data set itself is never touched"
    assert remote.push(settings, made) == first, "the same again is the same"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a remote, #1", "data", "home"]
    assert [file.name for file in (tmp_path / "data" / "dvc").iterdir()] == ["lock"]
    assert list((tmp_path / "home").iterdir()) == []

    shutil.rmtree(folder)
    brought = remote.bring_back(settings, str(first.digest))
    assert (content(folder), brought.intact(), brought.manifest) == (before, True, made.manifest)

    other = frozen(settings, OTHER)
    again = remote.push(settings, other)
    assert again.digest == first.digest and again.hash != first.hash, "the same rows in another job's manifest"

    shutil.rmtree(folder)
    (weights,) = (tmp_path / "a remote, #1").glob(f"files/md5/{first.hash[:2]}/{first.hash[2:]}")
    weights.unlink()
    with pytest.raises(Retry, match="dvc list: "):
        remote.bring_back(settings, JOB)
    assert not folder.exists() and remote.kept(settings, JOB) == first


def test_whoever_has_dvc_can_pull_it_without_us(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings)
    remote.push(settings, made)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    shutil.copy(remote.pointer(settings, JOB), theirs)
    for arguments in (
        ["init", "--no-scm"],
        ["remote", "add", "-d", "ours", settings.dvc.remote],
        ["pull", places.POINTER_FILE],
    ):
        subprocess.run(
            [dvc.dvc_python(), "-m", "dvc", *arguments],
            cwd=theirs,
            env=dvc.environment(os.environ, theirs),
            check=True,
            timeout=120,
        )
    assert content(theirs / "data") == content(Path(made.folder))


@pytest.mark.parametrize("when", ["added", "sending"])
def test_killed_in_the_middle_the_next_push_ends_the_same(tmp_path: Path, when: str) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings, rows=40, chars=LONG)
    before, kept = content(Path(made.folder)), Path(settings.dvc.remote)
    command = [sys.executable, "-c", PUSH, str(settings.data_dir), settings.dvc.remote, JOB]
    process = subprocess.Popen(command, start_new_session=True)
    work = tmp_path / "data" / "dvc" / "work"
    reached: Callable[[], bool] = {
        "added": (work / dvc.POINTER).is_file,
        "sending": lambda: bool(sent(kept)),
    }[when]
    try:
        until(reached, within_s=200, every_s=0.005, what=f"the data set is {when}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert remote.kept(settings, JOB) is None, "nothing is said before it is there"

    pushed = remote.push(settings, made)
    assert content(Path(made.folder)) == before and not work.exists()
    shutil.rmtree(made.folder)
    assert remote.bring_back(settings, pushed.hash).intact()
    assert content(Path(made.folder)) == before


@pytest.mark.parametrize("to", ["/sys", "no-such-folder", "s3://no-such-bucket/sets"])
def test_a_remote_that_takes_nothing_costs_neither_the_data_set_nor_the_job(
    tmp_path: Path, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "name-of-nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "word-of-nobody")
    settings = deployment(tmp_path, to)
    made = frozen(settings)
    said = remote.tried(settings, made)
    assert said.startswith("data set not pushed to dvc.remote: ")
    assert "nobody" not in said and not (tmp_path / "no-such-folder").exists()
    assert made.intact() and remote.lacks(settings, JOB)
    mended = deployment(tmp_path)
    assert remote.tried(mended, made) == "" and not remote.lacks(mended, JOB)


def test_what_the_remote_gives_is_compared_with_the_digest(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made, other = frozen(settings), frozen(settings, OTHER, rows=130)
    remote.push(settings, made)
    swapped = remote.push(settings, other)
    found = dvc.read(remote.pointer(settings, JOB))
    assert found is not None
    dvc.write(remote.pointer(settings, JOB), dvc.Pointer(hash=swapped.hash, meta=found.meta))
    shutil.rmtree(made.folder)
    with pytest.raises(Stop, match="is not the data set with digest"):
        remote.bring_back(settings, JOB)
    assert not Path(made.folder).exists()


@pytest.mark.parametrize("kind", ["another list", "a list that fits its hash"])
def test_whoever_writes_to_the_remote_does_not_say_where_files_go(tmp_path: Path, kind: str) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings)
    pushed = remote.push(settings, made)
    kept = Path(settings.dvc.remote) / "files" / "md5"
    listing = kept / pushed.hash[:2] / pushed.hash[2:]
    files = json.loads(listing.read_bytes())
    evil = json.dumps([*files, files[0] | {"relpath": "../../escaped/owned.txt"}]).encode()
    place, known_as = listing, pushed.hash
    if kind != "another list":
        known_as = hashlib.md5(evil).hexdigest() + ".dir"
        place = kept / known_as[:2] / known_as[2:]
        place.parent.mkdir(exist_ok=True)
        meta = {"digest": pushed.digest, "remote": pushed.remote}
        dvc.write(remote.pointer(settings, JOB), dvc.Pointer(hash=known_as, meta=meta))
    place.unlink(missing_ok=True)
    place.write_bytes(evil)
    shutil.rmtree(made.folder)
    before = sent(tmp_path)
    with pytest.raises(Stop, match=r"not the list of files with that hash|is no data set: that has just"):
        remote.bring_back(settings, JOB)
    assert sent(tmp_path) == before, "nothing was written"


def test_a_file_that_is_not_the_listed_one_and_a_move_to_another_remote(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings)
    pushed = remote.push(settings, made)
    shutil.rmtree(made.folder)
    shutil.move(settings.dvc.remote, tmp_path / "moved")
    found = remote.bring_back(settings, JOB, str(tmp_path / "moved"))
    assert found.intact() and remote.kept(settings, JOB) == replace(pushed, remote=str(tmp_path / "moved"))
    assert remote.lacks(settings, JOB)

    shutil.rmtree(made.folder)
    (listing,) = (tmp_path / "moved").glob(f"files/md5/{pushed.hash[:2]}/{pushed.hash[2:]}")
    md5 = {each["relpath"]: each["md5"] for each in json.loads(listing.read_bytes())}["manifest.json"]
    (manifest,) = (tmp_path / "moved").glob(f"files/md5/{md5[:2]}/{md5[2:]}")
    told = manifest.read_bytes()
    manifest.unlink()
    manifest.write_bytes(told.replace(b'"job"', b'"jab"'))
    with pytest.raises((Stop, Retry), match=r"manifest\.json that the remote gave is not the one|dvc pull: "):
        remote.bring_back(settings, JOB)
    assert not Path(made.folder).exists()


def test_from_a_job_to_the_registry_and_back_on_another_machine(
    stack_settings: Settings, store: StoreProcess, mlflow: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "plans-kept"
    write_models(tmp_path / "data" / "models")
    overrides = {
        "TIDEMILL_DATA_DIR": str(tmp_path / "data"),
        "TIDEMILL_LOCAL__PORT_BASE": str(stack_settings.local.port_base),
        "TIDEMILL_CLICKHOUSE__URL": store.url,
        "TIDEMILL_CLICKHOUSE__DATABASE": "kept",
        "TIDEMILL_DEPLOYMENT": "kept",
        "TIDEMILL_DVC__REMOTE": str(tmp_path / "sets"),
    }
    file = write_settings(tmp_path / "tidemill.yaml", name, "http://127.0.0.1:9/v1")
    settings = load_settings(file, overrides)
    for variable, value in overrides.items():
        monkeypatch.setenv(variable, value)
    Store(settings).migrate()
    LabelledCalls(Store(settings), name).write("words", 120, NOW - 100_000, NOW - 1_000)
    job = places.job_dir(settings, JOB)
    job.mkdir(parents=True)
    saved = str(save_settings(settings, job))
    spec = SnapshotSpec(settings=saved, job_id=JOB, pipeline=name, change_ms=NOW - 100_000, until_ms=NOW)

    away = take(spec)
    assert [note for note in away["notes"] if note.startswith("data set not pushed to dvc.remote: there is no folder")]
    (tmp_path / "sets").mkdir()
    data = take(spec)
    first = remote.kept(settings, JOB)
    assert first is not None and (first.digest, data["notes"]) == (away["digest"], away["notes"][:-1])
    assert take(spec) == data and remote.kept(settings, JOB) == first, "it may be repeated"

    adapter_dir = places.candidate_dir(settings, JOB)
    adapter_dir.mkdir()
    (adapter_dir / adapter.WEIGHTS).write_bytes(b"weights")
    (adapter_dir / adapter.CONFIG).write_text("{}")
    remote.pointer(settings, JOB).unlink()  # as after a remote that was away all the time
    shutil.rmtree(tmp_path / "sets")
    judged = RegisterSpec(
        settings=saved,
        job_id=JOB,
        pipeline=name,
        accepted=True,
        adapter_dir=str(adapter_dir),
        tags={"tidemill.data_digest": data["digest"]},
        params={},
        metrics={},
        losses=[],
    )
    result = write(judged)
    assert result["notes"] and "make good with `tidemill data push d00dd00d`" in result["notes"][0]
    assert run_tags(settings, result["run_id"])["tidemill.dvc"] == "not pushed"
    (job / "register").mkdir()
    (job / "register" / "result.json").write_bytes(
        b'{"run_id": "%s", "version": "%s"}' % (result["run_id"].encode(), result["version"].encode())
    )

    (tmp_path / "sets").mkdir()
    assert told(file, "push")["pushed"] == [msgspec.to_builtins(first)]
    assert told(file, "push")["pushed"] == [], "it has every one"
    assert told(file, "push", result["version"])["pushed"] == [msgspec.to_builtins(first)], "asked for by its name"
    assert run_tags(settings, result["run_id"])["tidemill.dvc"] == first.hash
    again = write(judged)
    assert (again["version"], again["notes"]) == (result["version"], [])

    before = content(places.data_dir(settings, JOB))
    for known_as in (result["version"], first.digest, first.hash):
        shutil.rmtree(job)
        assert told(file, "pull", known_as)["digest"] == first.digest
        assert content(places.data_dir(settings, JOB)) == before, known_as
    assert remote.kept(settings, JOB) is not None
    with pytest.raises(Stop, match=r"neither under .* nor to MLflow"):
        remote.find(settings, f"{name}-v9")


def told(file: Path, *command: str) -> dict[str, Any]:
    """What ``tidemill data`` says, as JSON."""
    done = CliRunner().invoke(app, ["--settings", str(file), "data", *command, "--json"], catch_exceptions=False)
    context.use(None)
    found: dict[str, Any] = json.loads(done.output)
    return found


def run_tags(settings: Settings, run_id: str) -> dict[str, str]:
    found: dict[str, str] = registry.client(settings).get_run(run_id).data.tags
    return found
