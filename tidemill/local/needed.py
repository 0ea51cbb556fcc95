"""Files and folders that the settings name and the stack cannot do without, looked for before anything starts."""

from __future__ import annotations

from collections.abc import Collection

from retrain.datasets import dvc
from tidemill.errors import Stop
from tidemill.local.engine import embedded_name
from tidemill.settings import Settings


def refuse_missing(settings: Settings, only: Collection[str] | None = None) -> None:
    """Raise Stop, naming each setting, its value and the way out, where a base model, a golden set or DVC is not there.

    ``only``: the parts that run here; None: all.
    """
    faults = missing(settings, only)
    if faults:
        raise Stop("\n".join(faults))


def missing(settings: Settings, only: Collection[str] | None = None) -> list[str]:
    """A sentence for each of them. A base model is needed where it is served, or where adapters are trained on it."""
    trained = {name: p for name, p in settings.pipelines.items() if p.retrain.enabled}
    if only is not None and "retrain" not in only:
        trained = {}
    engines = {pipeline.engine for pipeline in trained.values()}
    if only is None or "engine" in only:
        engines |= {embedded_name(settings) or ""}
    found = []
    for name, engine in settings.engines.items():
        if name in engines and engine.kind == "vllm" and engine.base_dir:
            folder = settings.resolve(engine.base_dir)
            if not folder.is_dir():
                found.append(
                    f"engines.{name}.base_dir {engine.base_dir!r}: there is no folder {folder}; put the base model "
                    "there, or name the folder where it is"
                )
    if (only is None or "retrain" in only) and (fault := dvc.fault(settings.dvc)):
        found.append(fault)
    for name, pipeline in trained.items():
        for suite in pipeline.gate.suites:
            if not (file := settings.resolve(suite.file)).is_file():
                found.append(
                    f"pipelines.{name}.gate.suites {suite.name!r}, file {suite.file!r}: there is no file {file}; put "
                    "its rows there, or take the suite out"
                )
        if golden := pipeline.gate.golden_set:
            file = settings.resolve(golden)
            if not file.is_file():
                found.append(
                    f"pipelines.{name}.gate.golden_set {golden!r}: there is no file {file}; put the prompt/completion "
                    "pairs there, or leave the setting empty to judge without them"
                )
    return found
