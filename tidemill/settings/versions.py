"""Versions of a pipeline that no training makes: other models, providers, prompts, indexes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

from pydantic import AfterValidator, Field, model_validator

from tidemill.ids import is_version_of
from tidemill.settings.strict import Strict, choice, wrong

Kind = Literal["adapter", "model", "provider", "router", "prompt", "retrieval"]
NEEDS: Mapping[Kind, tuple[str, ...]] = {
    "adapter": ("adapter",),
    "model": ("engine",),
    "provider": ("engine", "model"),
    "router": ("engine", "model"),
    "prompt": ("prompt_version",),
    "retrieval": ("upstream_headers",),
}
"""What each kind of version must say."""
MAY: Mapping[Kind, tuple[str, ...]] = {
    "adapter": ("system_prompt", "prompt_version", "upstream_headers"),
    "model": ("model", "system_prompt", "prompt_version", "upstream_headers"),
    "provider": ("system_prompt", "prompt_version", "upstream_headers"),
    "router": ("system_prompt", "prompt_version", "upstream_headers"),
    "prompt": ("of", "system_prompt", "upstream_headers"),
    "retrieval": ("of", "system_prompt", "prompt_version"),
}
"""What it may say besides."""
SAME_MODEL: tuple[Kind, ...] = ("prompt", "retrieval")
"""Kinds whose calls another version's model answers."""
KEPT_HEADERS = frozenset({"authorization", "content-type", "content-length", "host", "connection", "transfer-encoding"})
_FIELDS = ("engine", "model", "adapter", "of", "system_prompt", "prompt_version", "upstream_headers")


def _sendable(headers: dict[str, str]) -> dict[str, str]:
    for name, value in headers.items():
        if not re.fullmatch(r"[A-Za-z0-9-]+", name) or not value.isascii() or not value.isprintable():
            raise ValueError(f"{name!r}: {value!r} is no HTTP header; letters, digits and '-' in its name, ASCII in it")
        if name.lower() in KEPT_HEADERS:
            raise ValueError(f"{name!r} is set by the gateway itself; name another one")
    return headers


Headers = Annotated[dict[str, str], AfterValidator(_sendable)]


class VersionSettings(Strict):
    """One version, by what makes it another one than the champion. It is started by `tidemill rollout start`.

    Its number is one that training never reaches (1001 and up): a trained candidate of a declared name is not rolled
    out.
    """

    kind: Kind
    """`adapter`: a LoRA adapter made elsewhere; `model`: a base, fine-tuned or quantized model on an engine that serves
    it whole (blue/green); `provider`: a provider's model; `router`: a service that chooses models itself; `prompt`: the
    same model under another prompt; `retrieval`: the same model behind a service that reads another index."""
    engine: str = ""
    """Where it is served; empty: on the pipeline's engine."""
    model: str = ""
    """Its name there; empty: the engine's `base_model`."""
    adapter: str = ""
    """Folder of its adapter."""
    of: str = ""
    """Of a prompt or an index: the version whose model it uses; empty: the pipeline's `champion`."""
    system_prompt: str | None = None
    """Instead of the pipeline's. None: that one."""
    prompt_version: str = ""
    """Instead of the pipeline's: recorded with each of its calls. Empty: that one."""
    upstream_headers: Headers = Field(default_factory=dict)
    """HTTP headers that its calls carry to the upstream, besides the pipeline's (`X-Retrieval-Index: faq-2026-11`);
    on another engine than the pipeline's these alone."""

    @model_validator(mode="after")
    def _check(self) -> VersionSettings:
        may = (*NEEDS[self.kind], *MAY[self.kind])
        for name in NEEDS[self.kind]:
            if not getattr(self, name):
                raise wrong((name,), f"is empty; a version of kind {self.kind!r} needs it")
        for name in _FIELDS:
            if getattr(self, name) not in ("", None, {}) and name not in may:
                message = (
                    f"says nothing of a version of kind {self.kind!r}, which may say {', '.join(may)}; take it out"
                )
                raise wrong((name,), message)
        return self


class Versioned(Protocol):
    """What is looked at of a pipeline (PipelineSettings has it)."""

    @property
    def engine(self) -> str: ...
    @property
    def champion(self) -> str: ...
    @property
    def versions(self) -> dict[str, VersionSettings]: ...


def model_version(pipeline: Versioned, version: str) -> str:
    """The version whose model answers: of a prompt or an index another one. Empty: the pipeline's champion."""
    one = pipeline.versions.get(version or pipeline.champion)
    return (one.of or pipeline.champion) if one is not None and one.kind in SAME_MODEL else version or pipeline.champion


def untrainable(pipeline: Versioned, version: str) -> str:
    """Why no training can begin where this version serves, in words; empty: it is the base, or an adapter on the
    pipeline's engine."""
    model = model_version(pipeline, version)
    one = pipeline.versions.get(model)
    if one is None or one.kind == "adapter":
        return ""
    what = f"{one.kind!r} on the engine {one.engine or pipeline.engine!r}"
    serves = version if version == model else f"{version} with the model of {model}"
    return f"{serves} serves, and versions.{model} is {what}: no adapter on {pipeline.engine!r} to go on from or beat"


def in_words(pipeline: Versioned, version: str, bases: Mapping[str, str]) -> str:
    """What a declared version is. ``bases``: how each engine calls its own base."""
    one = pipeline.versions[version]
    if one.kind in SAME_MODEL:
        prompt = f" {one.prompt_version}" if one.prompt_version else ""
        return f"{one.kind}{prompt} with the model of {model_version(pipeline, version)}"
    engine = one.engine or pipeline.engine
    model = f" {one.model or bases[engine]}" if one.kind != "adapter" else ""
    return f"{one.kind}{model} on the engine {engine}"


def versions_fault(pipeline: str, settings: Versioned, kinds: Mapping[str, str]) -> tuple[tuple[str, ...], str] | None:
    """The first thing that is wrong with the versions that a pipeline names: where, and the way out. ``kinds``: of all
    engines, by name."""
    if not is_version_of(pipeline, settings.champion):
        return ("champion",), f"{settings.champion!r} is not <pipeline>-v<N>; for example {pipeline + '-v1'!r}"
    for name, one in settings.versions.items():
        if not is_version_of(pipeline, name):
            return ("versions", name), f"{name!r} is not <pipeline>-v<N>; for example {pipeline + '-v1001'!r}"
        if one.engine and one.engine not in kinds:
            return ("versions", name, "engine"), f"{one.engine!r} is not in engines; {choice(one.engine, kinds)}"
        engine = one.engine or settings.engine
        if one.kind == "adapter" and kinds[engine] != "vllm":
            message = f"engine {engine!r} is of kind {kinds[engine]!r}, and only 'vllm' takes adapters"
            return ("versions", name, "kind"), message
        if one.kind == "provider" and kinds[engine] != "provider":
            message = f"{engine!r} is of kind {kinds[engine]!r}; name an engine of kind 'provider', or say kind: model"
            return ("versions", name, "engine"), message
        of = settings.versions.get(one.of or settings.champion)
        if one.kind in SAME_MODEL and of is not None and of.kind in SAME_MODEL:
            message = f"{one.of or settings.champion!r} is of kind {of.kind!r} itself; name the version with the model"
            return ("versions", name, "of"), message
    return None
