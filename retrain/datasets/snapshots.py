"""Data sets that jobs have made: found by job or version, compared, written out for other tools."""

from __future__ import annotations

import glob
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from retrain import places
from retrain.datasets.rows import Row, digest_of
from retrain.whole import read_object
from tidemill.errors import Stop
from tidemill.settings import Settings

Form = Literal["prompt", "chat"]
PARTS = ("train", "verified")
FILES = {"train": places.TRAIN_FILE, "verified": places.VERIFIED_FILE}


class Snapshot(Struct, frozen=True, kw_only=True):
    """One job's data set. ``version`` is the one made of it, if it became one."""

    job_id: str
    version: str
    folder: str
    manifest: dict[str, Any]

    def rows(self, part: str) -> list[Row]:
        """The rows of ``train`` or ``verified``. Raises Stop where the file cannot be read."""
        file = Path(self.folder) / FILES[part]
        try:
            return [msgspec.json.decode(line, type=Row) for line in file.read_bytes().splitlines() if line.strip()]
        except (OSError, msgspec.DecodeError) as error:
            raise Stop(f"{file} cannot be read: {error}") from error

    def intact(self) -> bool:
        """Whether the files hold what the manifest's digest says."""
        return digest_of(self.rows("train"), self.rows("verified")) == str(self.manifest["digest"])


class Changed(Struct, frozen=True, kw_only=True):
    """A prompt that both have with other rows: another label, rejected answer or thumb, or another answer with one."""

    prompt: str
    before: tuple[Row, ...]
    after: tuple[Row, ...]


class Difference(Struct, frozen=True, kw_only=True):
    """Of one part of two data sets: rows of prompts that one alone has, prompts whose rows differ, and how many prompts
    have the same.
    """

    only_first: tuple[Row, ...]
    only_second: tuple[Row, ...]
    changed: tuple[Changed, ...]
    same: int


def known(settings: Settings) -> list[Snapshot]:
    """All data sets under ``data_dir``, the newest first. A job's folder without one is left out."""
    jobs = places.jobs_dir(settings)
    found = [of_job(folder) for folder in jobs.iterdir() if folder.is_dir()] if jobs.is_dir() else []
    made = [each for each in found if each is not None]
    return sorted(made, key=lambda each: (-int(each.manifest.get("until_ms", 0)), each.job_id))


def of_job(folder: Path) -> Snapshot | None:
    """The data set in a job's folder; None where there is none."""
    manifest = read_object(folder / "data" / places.MANIFEST_FILE) or {}
    if "digest" not in manifest:
        return None
    return Snapshot(
        job_id=folder.name,
        version=str((read_object(folder / "register" / "result.json") or {}).get("version", "")),
        folder=str(folder / "data"),
        manifest=manifest,
    )


def find(settings: Settings, name: str) -> Snapshot:
    """The data set of a job (its id, or the beginning of it) or of a version. Raises Stop and says what there is."""
    every = known(settings)
    fitting = [each for each in every if each.version == name] or [e for e in every if e.job_id.startswith(name)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise Stop(f"{name!r} begins the ids of {len(fitting)} jobs: {', '.join(each.job_id for each in fitting)}")
    jobs = places.jobs_dir(settings)
    for folder in sorted(jobs.glob(f"{glob.escape(name)}*")) if name else ():
        if (folder / places.POINTER_FILE).is_file():
            raise Stop(f"the data set of job {folder.name} is gone from here; `tidemill data pull {folder.name}`")
        refused = (read_object(folder / "snapshot" / "result.json") or {}).get("refused")
        raise Stop(f"job {folder.name} has no data set: {refused or 'it has not collected its labels'}")
    if not every:
        raise Stop(f"there is no data set under {jobs}; a job makes one when it has collected its labels")
    names = ", ".join(each.version or each.job_id[:8] for each in every[:10])
    raise Stop(f"there is no data set of a job or version {name!r} under {jobs}; there are {names}")


def difference(first: Sequence[Row], second: Sequence[Row]) -> Difference:
    """What the second has that the first has not, and the other way round; rows in the order of their prompts."""
    before, after = _by_prompt(first), _by_prompt(second)
    common = sorted(before.keys() & after.keys())
    return Difference(
        only_first=tuple(_rows(before, before.keys() - after.keys())),
        only_second=tuple(_rows(after, after.keys() - before.keys())),
        changed=tuple(
            Changed(prompt=each, before=before[each], after=after[each])
            for each in common
            if before[each] != after[each]
        ),
        same=sum(before[each] == after[each] for each in common),
    )


def export(snapshot: Snapshot, folder: Path, form: Form) -> Path:
    """Write both parts as JSON Lines, and the manifest, into a new folder, whole or not at all. Raises Stop.

    Form ``prompt`` has the rows as they are. ``chat`` has messages in TRL's columns: ``messages`` of a label (of the
    user alone where there is none), ``prompt``, ``chosen`` and ``rejected`` of a pair, ``prompt``, ``completion`` and
    ``label`` of a thumb.
    """
    if folder.exists():
        raise Stop(f"{folder} is there already; name a folder that is not")
    if not snapshot.intact():
        raise Stop(f"{snapshot.folder} is not what its manifest's digest says; somebody has changed the files")
    unfinished = folder.with_name(folder.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        for part in PARTS:
            lines = (msgspec.json.encode(_formed(row, form)) + b"\n" for row in snapshot.rows(part))
            (unfinished / FILES[part]).write_bytes(b"".join(lines))
        shutil.copyfile(Path(snapshot.folder) / places.MANIFEST_FILE, unfinished / places.MANIFEST_FILE)
        unfinished.rename(folder)
    except OSError as error:
        raise Stop(f"{folder} cannot be written: {error.strerror}") from error
    return folder


def _by_prompt(rows: Iterable[Row]) -> dict[str, tuple[Row, ...]]:
    made: dict[str, set[Row]] = {}
    for row in rows:
        made.setdefault(row.prompt, set()).add(row)
    return {prompt: tuple(sorted(each, key=lambda row: row.content)) for prompt, each in made.items()}


def _rows(by_prompt: dict[str, tuple[Row, ...]], prompts: Iterable[str]) -> Iterator[Row]:
    for prompt in sorted(prompts):
        yield from by_prompt[prompt]


def _formed(row: Row, form: Form) -> Any:
    if form == "prompt":
        return row
    asked, answered = _message("user", row.prompt), _message("assistant", row.completion)
    if row.liked is not None:
        return {"prompt": [asked], "completion": [answered], "label": row.liked}
    if row.rejected:
        return {"prompt": [asked], "chosen": [answered], "rejected": [_message("assistant", row.rejected)]}
    return {"messages": [asked, answered] if row.completion else [asked]}


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
