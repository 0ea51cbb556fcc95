"""What is known of data sets in the remote: by which names, since when, and what happens where it is away."""

from __future__ import annotations

from pathlib import Path

import pytest

from retrain import places
from retrain.datasets import dvc, remote, snapshots
from retrain.datasets.dataset import build
from retrain.snapshot import write_folder
from retrain.whole import write_json
from tests.unit.retrain.made import NOW, rules
from tests.unit.retrain.poisoned import call
from tidemill.clock import ManualClock
from tidemill.errors import Retry, Stop
from tidemill.settings import Settings

JOB, OTHER = "aa11" * 8, "aa22" * 8
HASH = "0123" * 8 + ".dir"


def deployment(folder: Path, to: str = "sets") -> Settings:
    return Settings.model_validate({"data_dir": str(folder / "data"), "dvc": {"remote": to}})


def frozen(settings: Settings, job: str, calls: int = 120) -> snapshots.Snapshot:
    """A data set in its job's folder."""
    made = build([call(n, "acme", f"say {n}", "audit") for n in range(calls)], [], [], rules())
    manifest = {"digest": made.digest, "counts": made.counts, "until_ms": NOW, "pipeline": "s"}
    write_folder(places.data_dir(settings, job), made, manifest)
    found = snapshots.of_job(places.job_dir(settings, job))
    assert found is not None
    return found


def pushed(settings: Settings, made: snapshots.Snapshot, hash_: str = HASH, to: str = "sets") -> None:
    """The same as a push leaves."""
    meta = {"digest": made.manifest["digest"], "remote": to}
    dvc.write(remote.pointer(settings, made.job_id), dvc.Pointer(hash=hash_, size=5, files=3, meta=meta))


def test_nothing_is_asked_for_where_no_remote_is_set(tmp_path: Path) -> None:
    settings = deployment(tmp_path, "")
    made = frozen(settings, JOB)
    assert (remote.tried(settings, made), remote.tags(settings, JOB), remote.kept(settings, JOB)) == ("", {}, None)
    assert not (tmp_path / "data" / "dvc").exists()


def test_a_remote_that_is_away_holds_nothing_up_and_is_said(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings, JOB)
    said = remote.tried(settings, made)
    assert said.startswith(f"data set not pushed to dvc.remote: there is no folder {tmp_path}/sets (dvc.remote); make")
    assert not (tmp_path / "sets").exists(), "DVC would have made it"
    assert (made.intact(), remote.lacks(settings, JOB)) == (True, True)
    assert remote.tags(settings, JOB) == {"tidemill.dvc": "not pushed"}


def test_what_is_there_is_not_pushed_again_unless_the_remote_is_another_one(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings, JOB)
    pushed(settings, made)
    assert remote.tried(settings, made) == ""
    assert remote.tags(settings, JOB) == {"tidemill.dvc": HASH, "tidemill.dvc_remote": "sets"}
    assert remote.kept(settings, JOB) == remote.Kept(
        job_id=JOB, digest=made.manifest["digest"], hash=HASH, remote="sets", size=5
    )
    assert remote.lacks(deployment(tmp_path, "s3://bucket/sets"), JOB)


def test_a_new_try_of_the_data_set_forgets_what_was_said_of_the_old_one(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings, JOB)
    pushed(settings, made)
    assert frozen(settings, JOB).manifest == made.manifest
    assert remote.kept(settings, JOB) is None


def test_it_is_found_by_version_job_digest_and_hash(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made, other = frozen(settings, JOB), frozen(settings, OTHER, 130)
    pushed(settings, made)
    pushed(settings, other, "ffff" * 8 + ".dir")
    (places.job_dir(settings, JOB) / "register").mkdir()
    write_json(places.job_dir(settings, JOB) / "register" / "result.json", {"version": "s-v2"})
    digest = str(made.manifest["digest"])
    for name in ("s-v2", JOB, "aa11", digest, digest[:8], HASH, HASH[:8]):
        assert remote.find(settings, name).job_id == JOB, name
    with pytest.raises(Stop, match="fits 2 data sets"):
        remote.find(settings, "aa")
    for name in ("s-v9", "nothing", ""):
        with pytest.raises(Stop):
            remote.find(settings, name)


def test_what_has_been_changed_is_not_pushed(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings, JOB)
    (places.data_dir(settings, JOB) / places.TRAIN_FILE).write_bytes(b"")
    with pytest.raises(Stop, match="is not what its manifest's digest says"):
        remote.push(settings, made)


def test_a_data_set_that_is_gone_says_how_it_comes_back_and_one_that_is_there_is_left_alone(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings, JOB)
    pushed(settings, made)
    with pytest.raises(Stop, match="is there; see `tidemill data show aa11aa11`"):
        remote.bring_back(settings, JOB)
    for file in sorted(Path(made.folder).iterdir()):
        file.unlink()
    Path(made.folder).rmdir()
    with pytest.raises(Stop, match=f"is gone from here; `tidemill data pull {JOB}`"):
        snapshots.find(settings, "aa11")
    with pytest.raises(Stop, match="--remote: a password or token stands in it"):
        remote.bring_back(settings, JOB, "ssh://me:secret@host/sets")


def test_a_folder_for_dvc_that_cannot_be_used_holds_nothing_up(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings, JOB)
    (tmp_path / "sets").mkdir()
    (tmp_path / "data" / "dvc").write_text("")
    assert f"{tmp_path}/data/dvc cannot be used: " in remote.tried(settings, made)
    assert remote.lacks(settings, JOB)


def test_what_was_pushed_of_other_rows_is_not_pushed(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    old = frozen(settings, JOB)
    frozen(settings, JOB, 130)
    pushed(settings, old)  # somebody's push of the old folder ended after the new one was made
    assert remote.lacks(settings, JOB) and remote.kept(settings, JOB) is None
    assert remote.tags(settings, JOB) == {"tidemill.dvc": "not pushed"}


def test_a_push_beside_which_the_data_set_was_made_anew_is_not_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = deployment(tmp_path)
    made = frozen(settings, JOB)
    (tmp_path / "sets").mkdir()

    def meanwhile(_workspace: dvc.Workspace, _source: Path) -> dvc.Pointer:
        frozen(settings, JOB, 130)
        return dvc.Pointer(hash=HASH)

    monkeypatch.setattr(dvc.Workspace, "_call", lambda work, *_: (work._folder / ".dvc").mkdir())
    monkeypatch.setattr(dvc.Workspace, "push", meanwhile)
    with pytest.raises(Retry, match="was made anew while it was pushed"):
        remote.push(settings, made)
    assert not remote.pointer(settings, JOB).exists()


def test_what_was_in_vain_is_not_tried_again_within_the_hour(tmp_path: Path) -> None:
    settings, clock = deployment(tmp_path), ManualClock(NOW)
    made = frozen(settings, JOB)
    (tmp_path / "data" / "dvc").write_text("")
    first = remote.tried_again(settings, made, clock)
    assert "there is no folder" in first
    (tmp_path / "sets").mkdir()
    clock.advance(remote.AGAIN_MS - 1)
    assert remote.tried_again(settings, made, clock) == first
    clock.advance(1)
    assert "dvc cannot be used" in remote.tried_again(settings, made, clock)
    pushed(settings, made)
    assert remote.tried_again(settings, made, clock) == ""


def test_tags_say_neither_where_from_nor_what_a_job_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = deployment(tmp_path)
    monkeypatch.setenv(dvc.PYTHON_VARIABLE, str(tmp_path / "none"))
    for to in ("ssh://elsewhere/x", ""):
        told = remote.Kept(job_id=JOB, digest="cd" * 32, hash=HASH, remote=to)
        monkeypatch.setattr(remote, "find", lambda *_, told=told: told)
        with pytest.raises(Stop, match=f"MLflow says that '{to}' has it, .* if you trust it, give --remote"):
            remote.bring_back(settings, JOB)
    with pytest.raises(Stop, match="MLflow says that '' has it"):
        remote.bring_back(deployment(tmp_path, ""), JOB)
    with pytest.raises(Stop, match="DVC's environment is missing"):
        remote.bring_back(settings, JOB, "sets")
    (places.job_dir(settings, JOB) / "snapshot").mkdir(parents=True)
    write_json(places.job_dir(settings, JOB) / "snapshot" / "result.json", {"digest": "ef" * 32})
    with pytest.raises(Stop, match="has made a data set with digest efef"):
        remote.bring_back(settings, JOB, "sets")


def test_a_folder_that_is_not_there_is_taken_for_a_disk_that_is_not_mounted(tmp_path: Path) -> None:
    settings = deployment(tmp_path)
    assert remote.at(settings, "s3://bucket/sets") == "s3://bucket/sets"
    with pytest.raises(Retry, match="mount its disk"):
        remote.at(settings, "sets")
    (tmp_path / "sets").mkdir()
    assert remote.at(settings, "sets") == str(tmp_path / "sets")
