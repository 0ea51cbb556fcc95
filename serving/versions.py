"""Where a version of a pipeline is served, and what must be loaded for it: pure.

A version is an adapter on the pipeline's engine, unless the settings declare it as something else (another model, a
provider's, a prompt, an index: ``pipelines.<name>.versions``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tidemill.settings import PipelineSettings, Settings
from tidemill.settings.versions import model_version


@dataclass(frozen=True)
class Placement:
    """One model in one engine, by the name it has there."""

    engine: str
    model: str


@dataclass(frozen=True)
class Need:
    """What a version needs before it can answer."""

    place: Placement
    adapter: Path | None = None
    """Folder of the adapter to load; None: the engine serves it by itself."""


def name_taken(pipeline: PipelineSettings, version: str) -> str:
    """Why a candidate of a training cannot be ``version``, in words; empty: it can. Declared names come first, so its
    calls would go to what the settings mean by it."""
    if version not in pipeline.versions:
        return ""
    kind = pipeline.versions[version].kind
    return (
        f"the settings declare {version} under versions (kind {kind}), so its calls would not go to the trained "
        f"candidate; give the declared one a number that training never reaches, then `start {version}`"
    )


def need_of(settings: Settings, pipeline: str, version: str, folder: Path | None) -> Need:
    """What the version needs. ``folder``: of the adapter of its ``model_version``; None: the base serves it.

    Where the settings say what that version is, the folder says nothing.
    """
    here = settings.pipelines[pipeline]
    version = model_version(here, version)
    one = here.versions.get(version)
    if one is None:
        served = version if folder is not None else settings.engines[here.engine].base_model
        return Need(Placement(here.engine, served), folder)
    if one.kind == "adapter":
        return Need(Placement(here.engine, version), settings.resolve(one.adapter))
    engine = one.engine or here.engine
    return Need(Placement(engine, one.model or settings.engines[engine].base_model))


def first_folder(settings: Settings, version: str) -> Path | None:
    """Where a version's adapter lies by the settings alone; None: the base serves it."""
    for pipeline in settings.pipelines.values():
        if pipeline.champion == version:
            return settings.resolve(pipeline.champion_adapter) if pipeline.champion_adapter else None
    return settings.data_dir / "adapters" / version


class Answering:
    """Pipelines' settings as each of their versions answers: its prompt, and what its upstream is told."""

    def __init__(self, settings: Settings) -> None:
        self._plain = settings.pipelines
        self._declared = {
            (name, version): pipeline.as_version(version)
            for name, pipeline in settings.pipelines.items()
            for version in pipeline.versions
        }

    def by(self, pipeline: str, version: str) -> PipelineSettings:
        """The pipeline's settings where this version answers."""
        return self._declared.get((pipeline, version), self._plain[pipeline])
