"""What engines hold: adapters that are wanted are loaded, those that are left over and drained are taken out.

Asked anew each time, and each effect is safe to repeat. An engine that does not answer holds up its own adapters only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Protocol

from serving.engines import Engine, EngineRefused
from serving.rollout.adapters import removable, wanted
from serving.versions import Placement
from tidemill.errors import Retry
from tidemill.events import GatewayStatus, RolloutState, Route
from tidemill.settings import Settings

log = logging.getLogger(__name__)


class AdapterEngine(Protocol):
    """What the controller needs of an engine (serving.engines.Engine has it)."""

    def models(self) -> frozenset[str]: ...
    def load(self, model: str, folder: Path | str) -> bool: ...
    def unload(self, model: str) -> bool: ...


class Known(Protocol):
    """What is known from the topics (serving.rollout.log.RolloutLog has it)."""

    rollouts: dict[str, RolloutState]
    routes: dict[str, Route]


class Holdings:
    """Every engine's models as of its last ``reconcile``, which may run aside, one at a time for each engine."""

    def __init__(
        self,
        settings: Settings,
        known: Known,
        engine: Callable[[str], AdapterEngine] | None,
        troubles: dict[str, str],
    ) -> None:
        self._settings, self._known, self._troubles = settings, known, troubles
        make = engine or (lambda name: Engine.from_settings(settings, name))
        names = {pipeline.engine for pipeline in settings.pipelines.values()}
        for pipeline in settings.pipelines.values():
            names |= {one.engine for one in pipeline.versions.values() if one.engine}
        self._engines: dict[str, AdapterEngine] = {name: make(name) for name in sorted(names)}
        self.held: dict[str, frozenset[str]] = {}
        """Models each answering engine served when last asked."""
        self._as_of_ms: dict[str, int] = {}
        """When that reconciliation began."""
        self.refused: dict[Placement, str] = {}

    @property
    def settled(self) -> bool:
        """Whether every engine holds all that is wanted of it."""
        return all(
            place.model in self.held.get(place.engine, ()) for place in self._wanted() if place not in self.refused
        )

    @property
    def engines(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._engines)

    def loaded(self, place: Placement, since_ms: int = 0) -> bool | None:
        """Whether the engine serves it; a provider that answers serves all. None while the engine does not answer, or
        was not looked at since then: a look from before could be taking out what only now is wanted again."""
        held = self.held.get(place.engine)
        provided = self._settings.engines[place.engine].kind != "vllm"
        if held is None or self._as_of_ms.get(place.engine, 0) < since_ms:
            return None
        return provided or place.model in held

    def not_served(self, place: Placement) -> str:
        """What its engine serves instead; empty where it serves it, does not answer, or is to load it."""
        held = self.held.get(place.engine)  # once: a look that runs aside may take it out
        provided = self._settings.engines[place.engine].kind != "vllm"
        if held is None or provided or place.model in held or place in self._wanted():
            return ""
        where = f"engine {place.engine} at {self._settings.engine_url(place.engine)}"
        return f"{where} serves {', '.join(sorted(held)) or 'no model'}"

    def reconcile(self, name: str, live: Collection[GatewayStatus] | None, now_ms: int) -> None:
        """Load what is wanted of an engine and missing, take out what is left over and drained. ``live``: the live
        gateways. Blocks for as long as the engine takes."""
        engine = self._engines[name]
        try:
            held = engine.models()
            held = self._load(name, engine, held)
            self.held[name] = self._unload(name, engine, held, live)
            self._as_of_ms[name] = now_ms
            self._troubles.pop(f"engine {name}", None)
        except (Retry, EngineRefused) as error:
            self.held.pop(name, None)
            self._troubles[f"engine {name}"] = str(error)

    def _wanted(self) -> Mapping[Placement, Path]:
        return wanted(self._settings, dict(self._known.routes), dict(self._known.rollouts))

    def _load(self, name: str, engine: AdapterEngine, held: frozenset[str]) -> frozenset[str]:
        for place, folder in self._wanted().items():
            if place.engine != name or place.model in held:
                continue
            try:
                engine.load(place.model, folder)
            except (EngineRefused, Retry) as error:  # of this adapter: the others go on
                if isinstance(error, EngineRefused):
                    self.refused[place] = str(error)
                self._troubles[f"adapter {place.model}"] = str(error)
                continue
            log.info("adapter %s loaded", place.model, extra={"engine": name, "folder": str(folder)})
            self.refused.pop(place, None)
            self._troubles.pop(f"adapter {place.model}", None)
            held |= {place.model}
        return held

    def _unload(
        self, name: str, engine: AdapterEngine, held: frozenset[str], live: Collection[GatewayStatus] | None
    ) -> frozenset[str]:
        for place in removable(self._settings, dict(self._known.routes), dict(self._known.rollouts), live):
            if place.engine == name and place.model in held:
                engine.unload(place.model)
                log.info("adapter %s unloaded", place.model, extra={"engine": name})
                held -= {place.model}
        return held
