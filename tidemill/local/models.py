"""The demo's models: one tiny base and a first champion adapter per pipeline, made once and kept by content digest.

A folder is named after the digest of everything that decides its content (rows, training settings, recipe), so a
change anywhere makes a new folder and an unchanged one is used again. Training runs in processes of its own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from producers.language import TextSource
from tidemill.errors import Stop
from tidemill.io.modes import let_engines_read, let_engines_through
from tidemill.local import corpus

RECIPE = "1"
"""Raise it when the training code changes what the same rows and settings give."""
BASE: Mapping[str, int] = {"steps": 450, "batch": 32, "seed": 0}
BASE_ON_TEXTS: Mapping[str, int] = {**BASE, "steps": 1_000}
"""Real texts are more varied than the demo's language."""
CHAMPION: Mapping[str, float] = {"steps": 60, "rank": 16, "alpha": 32, "lr": 1e-3, "batch": 32, "seed": 0}

Report = Callable[[str, Mapping[str, Any]], None]
"""Called with what is being made ("base", "schedule", …) and one progress fact: {"cached": true}, or
{"begun": n, "all": of so many models, "kept": their folder}, then {"step", "of", "loss"} about once a second, then
{"done": true, …}."""
ALL = ("base", *corpus.PIPELINES)
"""What is made, in this order."""


@dataclass(frozen=True, slots=True)
class Models:
    """Folders of the base and of each pipeline's first champion."""

    base_dir: Path
    adapters: Mapping[str, Path]


def prepare(cache_dir: Path, progress: Report, texts: TextSource | None = None, threads: int = 2) -> Models:
    """Make what is missing and return the folders; blocks for minutes the first time, else well under a second.

    Safe to repeat, to interrupt and to call from several processes: a folder is used only when complete.
    Stop if a training process fails.
    """
    cache_dir.mkdir(parents=True, exist_ok=True)
    let_engines_through(cache_dir)
    with (cache_dir / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _prepare(cache_dir, progress, texts, threads)


def _prepare(cache_dir: Path, progress: Report, texts: TextSource | None, threads: int) -> Models:
    rows = corpus.jsonl(corpus.base_rows(texts))
    settings = BASE if texts is None else BASE_ON_TEXTS
    base_digest = corpus.digest(rows, _settings(settings))
    base = cache_dir / f"base-{base_digest[:12]}"
    if not _complete(base, base_digest, "base", progress):
        with_rows = _written(cache_dir / f"{base.name}.jsonl", rows)
        options = [f"--{name}={value}" for name, value in settings.items()]
        log = cache_dir / f"{base.name}.log"
        _run("base", "retrain.model.base", threads, progress, log, f"--corpus={with_rows}", f"--out={base}", *options)
        _finish(base, base_digest, with_rows)
    adapters = {}
    for pipeline in corpus.PIPELINES:
        adapters[pipeline] = _champion(pipeline, cache_dir, base, base_digest, progress, texts, threads)
    return Models(base, adapters)


def _champion(
    pipeline: str,
    cache_dir: Path,
    base: Path,
    base_digest: str,
    progress: Report,
    texts: TextSource | None,
    threads: int,
) -> Path:
    rows = corpus.jsonl(corpus.champion_rows(pipeline, texts))
    digest = corpus.digest(base_digest.encode(), rows, _settings(CHAMPION))
    folder = cache_dir / f"{pipeline}-v1-{digest[:12]}"
    if _complete(folder, digest, pipeline, progress):
        return folder
    with_rows = _written(cache_dir / f"{folder.name}.jsonl", rows)
    spec = {**CHAMPION, "base": str(base), "dataset": str(with_rows), "out": str(folder), "threads": threads}
    told = _written(cache_dir / f"{folder.name}.spec.json", msgspec.json.encode(spec))
    _run(pipeline, "retrain.train.run", threads, progress, cache_dir / f"{folder.name}.log", f"--spec={told}")
    _finish(folder, digest, with_rows, told)
    return folder


def _settings(values: Mapping[str, float]) -> bytes:
    return msgspec.json.encode({"recipe": RECIPE, **values}, order="sorted")


def _complete(folder: Path, digest: str, what: str, progress: Report) -> bool:
    mark = folder / "digest.txt"
    if mark.is_file() and mark.read_text().strip() == digest:
        progress(what, {"cached": True})
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _finish(folder: Path, digest: str, *scratch: Path) -> None:
    (folder / "digest.txt").write_text(digest + "\n")
    let_engines_read(folder)
    for file in scratch:
        file.unlink(missing_ok=True)


def _written(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def _run(what: str, module: str, threads: int, progress: Report, log: Path, *options: str) -> None:
    """Run one training process to its end; its complaints go to `log`, its progress lines to `progress`."""
    progress(what, {"begun": ALL.index(what) + 1, "all": len(ALL), "kept": str(log.parent)})
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "passive",
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, "-m", module, *options]
    with (
        log.open("wb") as complaints,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, env=environment) as process,
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if line.startswith(b'{"'):
                    progress(what, msgspec.json.decode(line))
        except BaseException:
            process.terminate()
            raise
    if process.returncode != 0:
        last = " / ".join(log.read_text(errors="replace").strip().splitlines()[-5:])
        raise Stop(f"training of {what} ended with code {process.returncode}; see {log} and run it again. {last}")
    log.unlink()
