"""DVC as a program, in an environment of its own: a folder is pushed to a remote under the hash that DVC gives it.

Each call works in one folder under data_dir, made anew and cleared away afterwards, that knows no Git, no analytics and
no settings but ours. Who was killed half-way is made good by doing it again: a remote names what it holds by content.
Credentials are where DVC looks for them by itself, in the environment; no word of them is logged or kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import yaml
from msgspec import Struct

from retrain.whole import write_bytes
from tidemill.errors import Retry, Stop, without_credentials
from tidemill.io.checkout import project_root
from tidemill.settings.dvc import DvcSettings

PYTHON_VARIABLE = "TIDEMILL_DVC_PYTHON"
DATA, POINTER = "data", "data.dvc"
CHECK_S = 60.0
LOOK_S = 0.2
_MISSING = "import importlib.util, sys; print(*(n for n in sys.argv[1:] if importlib.util.find_spec(n) is None))"
_LIST = """
import sys
from dvc.repo import Repo
kept = Repo().cloud.get_remote_odb(hash_name="md5")
with kept.fs.open(kept.oid_to_path(sys.argv[1]), "rb") as file:
    sys.stdout.buffer.write(file.read(int(sys.argv[2])))
"""
_LIST_BYTES = 10_000
_HASH = re.compile(r"[0-9a-f]{32}\.dir")
_MD5 = re.compile(r"[0-9a-f]{32}")
_CONFIG = """\
[core]
    no_scm = True
    analytics = False
    check_update = False
    remote = kept
['remote "kept"']
    url = "{}"
"""
_SECRET_NAME = re.compile("KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|CONNECTION_STRING", re.IGNORECASE)
_LEAST_SECRET = 6
_REASON_CHARS = 300


class Pointer(Struct, frozen=True, kw_only=True):
    """What DVC's small file says of a folder: its hash (MD5 of the list of files, with ``.dir``), bytes, files."""

    hash: str
    size: int = 0
    files: int = 0
    meta: dict[str, Any] = {}
    """Ours; DVC carries it along."""


def dvc_python(environ: Mapping[str, str] = os.environ) -> Path:
    """Python of DVC's environment: $TIDEMILL_DVC_PYTHON, else ``.venv-dvc`` in the project."""
    return Path(environ.get(PYTHON_VARIABLE) or project_root() / ".venv-dvc" / "bin" / "python")


def fault(told: DvcSettings) -> str:
    """Why a remote that is set cannot be used from here: DVC, or its plugin for it, is missing. Empty: it can, or none
    is set."""
    if not told.remote:
        return ""
    python = dvc_python()
    ways = f"run `python3 deploy/setup.py --dvc`, name a Python that has it by {PYTHON_VARIABLE}, or leave it empty"
    wanted = [name for name in ("dvc", told.plugin) if name]
    try:
        done = subprocess.run(
            [python, "-I", "-c", _MISSING, *wanted], check=True, capture_output=True, text=True, timeout=CHECK_S
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"dvc.remote is set, and DVC's environment is missing ({python}: {error}); {ways}"
    if missing := done.stdout.split():
        return f"dvc.remote is set, and {python} lacks {' and '.join(missing)}; {ways}"
    return ""


class Workspace:
    """A folder in which DVC works. ``limit_s`` bounds each call.

    Raises Retry where DVC does not do it (remote away, not allowed, too slow), Stop where there is no DVC.
    """

    def __init__(self, folder: Path, limit_s: float) -> None:
        self._folder = folder
        self._limit_s = limit_s

    def push(self, source: Path) -> Pointer:
        """Add a copy of ``source`` and push it; may be repeated, and gives the same for the same content."""
        shutil.copytree(source, self._folder / DATA)
        self._call("add", DATA)
        made = read(self._folder / POINTER)
        if made is None:
            raise Retry("DVC has added the folder and left no hash of it")
        self._call("push", POINTER)
        return made

    def pull(self, wanted: str, names: Set[str]) -> Path:
        """Bring the folder with this hash and these files back; it is gone when the workspace is.

        DVC writes wherever the remote's list of files says. So the list is read first, and DVC works by it only where
        it is the one of this hash and has just ``names``. Raises Stop where it is not, or a file is another one.
        """
        if not _HASH.fullmatch(wanted):
            raise Stop(f"{wanted!r} is no hash that DVC gives to a folder")
        found = self._run("list", "-c", _LIST, wanted, str(_LIST_BYTES)).encode()
        files = listed(found, wanted, names)
        cached = self._folder / ".dvc" / "cache" / "files" / "md5" / wanted[:2] / wanted[2:]
        cached.parent.mkdir(parents=True)
        cached.write_bytes(found)
        write(self._folder / POINTER, Pointer(hash=wanted))
        self._call("pull", POINTER)
        folder = self._folder / DATA
        for name, md5 in files.items():
            if _md5((folder / name).read_bytes()) != md5:
                raise Stop(f"the {name} that the remote gave is not the one in the list of {wanted}")
        return folder

    def _call(self, *arguments: str) -> None:
        self._run(arguments[0], "-m", "dvc", *arguments)

    def _run(self, what: str, *arguments: str) -> str:
        """Standard output of DVC's Python."""
        try:
            done = subprocess.run(
                [dvc_python(), "-I", *arguments],
                cwd=self._folder,
                env=environment(os.environ, self._folder),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=self._limit_s,
                check=False,
                close_fds=False,  # the lock is handed down: it falls free when DVC is gone, too
            )
        except subprocess.TimeoutExpired as error:
            raise Retry(f"dvc {what} took longer than dvc.timeout_s = {self._limit_s:g}") from error
        except OSError as error:
            raise Stop(f"{dvc_python()}: {error.strerror}; run `python3 deploy/setup.py --dvc`") from error
        if done.returncode != 0:
            raise Retry(f"dvc {what}: {reason(done.stderr, os.environ)}")
        return done.stdout


@contextmanager
def workspace(root: Path, remote: str, limit_s: float) -> Iterator[Workspace]:
    """A fresh workspace under ``root`` for one remote (a URL, or a folder's absolute path), gone afterwards.

    One at a time: waits up to ``limit_s`` for another, also for what a killed one has left running; then raises Retry.
    So it does where files cannot be read or written, in here, too.
    """
    folder = root / "work"
    try:
        root.mkdir(parents=True, exist_ok=True)
        with (root / "lock").open("ab") as lock:
            _take(lock.fileno(), limit_s)
            os.set_inheritable(lock.fileno(), True)
            shutil.rmtree(folder, ignore_errors=True)
            try:
                folder.mkdir()
                made = Workspace(folder, limit_s)
                made._call("init", "--no-scm")
                (folder / ".dvc" / "config").write_text(config(remote), encoding="utf-8")
                yield made
            finally:
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise Retry(f"{error.filename or folder} cannot be used: {error.strerror or error}") from error


def config(remote: str) -> str:
    """DVC's settings of a workspace."""
    return _CONFIG.format(remote)


def environment(environ: Mapping[str, str], folder: Path) -> dict[str, str]:
    """What DVC is started with: ours, with all that it keeps for itself in the workspace, and telling nobody."""
    own = {name: str(folder / ".dvc" / name.lower()) for name in _FOLDERS}
    return {**environ, **own, "DVC_NO_ANALYTICS": "1", "NO_COLOR": "1"}


_FOLDERS = ("DVC_SITE_CACHE_DIR", "DVC_GLOBAL_CONFIG_DIR", "DVC_SYSTEM_CONFIG_DIR")


def reason(said: str, environ: Mapping[str, str]) -> str:
    """Why DVC did not do it, from its standard error, in one line without anything secret."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ").removeprefix("unexpected error - ") for line in lines if "ERROR: " in line]
    told = without_credentials("; ".join(errors or lines[-1:]) or "it ended without a word")
    for name, value in environ.items():
        if _SECRET_NAME.search(name) and len(value) >= _LEAST_SECRET:
            told = told.replace(value, "***")
    return told[:_REASON_CHARS]


def read(file: Path) -> Pointer | None:
    """What DVC's file says; None where there is none, or it is no such file."""
    try:
        told = yaml.safe_load(file.read_text(encoding="utf-8"))
        out = told["outs"][0]
        return Pointer(
            hash=str(out["md5"]),
            size=int(out.get("size", 0)),
            files=int(out.get("nfiles", 0)),
            meta=dict(told.get("meta") or {}),
        )
    except (OSError, ValueError, TypeError, KeyError, IndexError, yaml.YAMLError):
        return None


def write(file: Path, made: Pointer) -> None:
    """The same as DVC writes it, for the folder ``data`` beside it; whole or not at all."""
    figures = {"size": made.size, "nfiles": made.files} if made.files else {}
    told: dict[str, Any] = {"outs": [{"md5": made.hash, **figures, "hash": "md5", "path": DATA}]}
    if made.meta:
        told["meta"] = made.meta
    write_bytes(file, yaml.safe_dump(told, sort_keys=False).encode())


class _File(Struct, frozen=True):
    md5: str
    relpath: str


def listed(found: bytes, wanted: str, names: Set[str]) -> dict[str, str]:
    """MD5 by file name, of the list that a remote has under a hash. Raises Stop where it is another list, or has other
    files than ``names``."""
    if _md5(found) + ".dir" != wanted:
        raise Stop(f"what the remote has under {wanted} is not the list of files with that hash; it has been changed")
    try:
        files = msgspec.json.decode(found, type=list[_File])
    except msgspec.DecodeError as error:
        raise Stop(f"what the remote has under {wanted} is no list of files: {error}") from error
    if sorted(each.relpath for each in files) != sorted(names) or not all(_MD5.fullmatch(each.md5) for each in files):
        raise Stop(f"what the remote has under {wanted} is no data set: that has just {', '.join(sorted(names))}")
    return {each.relpath: each.md5 for each in files}


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _take(lock: int, limit_s: float) -> None:
    end = time.monotonic() + limit_s
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise Retry(f"another data set has been on its way for {limit_s:g} s (dvc.timeout_s)") from error
            time.sleep(LOOK_S)
