"""Versions that the settings declare (``pipelines.<name>.versions``): no job made them, the settings tell of them."""

from __future__ import annotations

from pathlib import Path

from msgspec import structs

from retrain import adapter
from retrain.derived.derived import FACTS_FILE
from retrain.lineage.found import Declared
from retrain.whole import read_object
from tidemill.settings import PipelineSettings, Settings
from tidemill.settings.versions import SAME_MODEL, in_words, model_version


def declared(settings: Settings, pipeline: str) -> dict[str, Declared]:
    """Every declared version of a pipeline, without digests; none where the settings have no such pipeline."""
    here = settings.pipelines.get(pipeline)
    return {} if here is None else {version: _declared(settings, here, version) for version in here.versions}


def weighed(found: Declared) -> Declared:
    """The same with the digest of its folder as that is now. Blocks for as long as it takes to read the weights."""
    if not found.folder:
        return found
    folder = Path(found.folder)
    try:
        own = found.kind == "adapter"
        digest = adapter.file_digest(folder / adapter.WEIGHTS) if own else adapter.base_digest(folder)
    except OSError:
        return structs.replace(found, digest="")
    noted = found.made.get("digest")
    return structs.replace(found, digest=digest, intact=None if noted is None else noted == digest)


def _declared(settings: Settings, here: PipelineSettings, version: str) -> Declared:
    one = here.versions[version]
    bases = {name: engine.base_model for name, engine in settings.engines.items()}
    borrowed = one.kind in SAME_MODEL
    engine = "" if borrowed else one.engine or here.engine
    folder = _folder(settings, here, version)
    return Declared(
        what=in_words(here, version, bases),
        kind=one.kind,
        engine=engine,
        model="" if borrowed or one.kind == "adapter" else one.model or bases[engine],
        of=model_version(here, version) if borrowed else "",
        prompt_version=one.prompt_version,
        system_prompt=one.system_prompt,
        upstream_headers=dict(one.upstream_headers),
        folder=str(folder or ""),
        made=(read_object(folder / FACTS_FILE) or {}) if folder else {},
    )


def _folder(settings: Settings, here: PipelineSettings, version: str) -> Path | None:
    """Where its weights lie, as far as the settings say it: an adapter's, or the base's of its engine."""
    one = here.versions[version]
    if one.kind == "adapter":
        return settings.resolve(one.adapter)
    engine = settings.engines[one.engine or here.engine]
    whole = one.kind == "model" and one.model in ("", engine.base_model)
    return settings.resolve(engine.base_dir) if whole and engine.base_dir else None
