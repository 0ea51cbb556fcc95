"""Which adapters each engine must hold, and which may go: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from serving.rollout.moves import keeps_way_back
from serving.rollout.routes import champion_of, models_of
from tidemill.events import GatewayStatus, RolloutState, Route
from tidemill.settings import Settings


@dataclass(frozen=True)
class Placement:
    """One adapter in one engine."""

    engine: str
    model: str


def folder_of(settings: Settings, version: str, rollouts: Iterable[RolloutState]) -> Path | None:
    """Where a version's adapter lies; None when the base itself serves as this version."""
    for state in rollouts:
        if state.candidate_version == version and state.candidate_adapter_dir:
            return settings.resolve(state.candidate_adapter_dir)
    for pipeline in settings.pipelines.values():
        if pipeline.champion == version:
            return settings.resolve(pipeline.champion_adapter) if pipeline.champion_adapter else None
    return settings.data_dir / "adapters" / version


def wanted(
    settings: Settings, routes: Mapping[str, Route], rollouts: Mapping[str, RolloutState]
) -> dict[Placement, Path]:
    """Adapters to be held: first every pipeline's champion (of the routes, or of the settings), then the others.

    The way back stays loaded while a rollout is open, and while a new champion is watched.
    """
    serving: list[Placement] = []
    others: list[Placement] = []
    for name, pipeline in settings.pipelines.items():
        if settings.engines[pipeline.engine].kind != "vllm":
            continue
        route = routes.get(name)
        serving.append(Placement(pipeline.engine, champion_of(route).model_version if route else pipeline.champion))
        tried = [] if route is None else [arm.model_version for arm in route.arms]
        if route is not None and route.shadow is not None:
            tried.append(route.shadow.model_version)
        for state in rollouts.values():
            if state.pipeline == name and keeps_way_back(state):
                tried += [state.champion_version, state.candidate_version]
        others += [Placement(pipeline.engine, version) for version in tried]
    folders = {place: folder_of(settings, place.model, rollouts.values()) for place in [*serving, *others]}
    return {place: folder for place, folder in folders.items() if folder is not None}


def removable(
    settings: Settings,
    routes: Mapping[str, Route],
    rollouts: Mapping[str, RolloutState],
    live: Collection[GatewayStatus] | None,
) -> set[Placement]:
    """Adapters that an ended rollout left behind and that nobody uses any more; none while the live gateways (None) are
    not known.

    Only versions a rollout has handled: others (a candidate the gate is trying out) are somebody else's.
    """
    keep = wanted(settings, routes, rollouts)
    found = set()
    for state in rollouts.values():
        pipeline, route = settings.pipelines.get(state.pipeline), routes.get(state.pipeline)
        if keeps_way_back(state) or pipeline is None or route is None:
            continue
        for version in (state.candidate_version, state.champion_version):
            place = Placement(pipeline.engine, version)
            if place in keep or version in models_of(route) or settings.engines[pipeline.engine].kind != "vllm":
                continue
            if drained(version, route, live):
                found.add(place)
    return found


def drained(model: str, route: Route, live: Collection[GatewayStatus] | None) -> bool | None:
    """Whether every live gateway applies this route (or a later one) and has no call on ``model`` in flight.

    One that does not list the pipeline (it has other settings) serves none of its calls. None while the live gateways
    are not known: nobody heard is not nobody there.
    """
    if live is None:
        return None
    return all(
        status.epochs.get(route.pipeline, route.epoch) >= route.epoch and not status.in_flight.get(model)
        for status in live
    )
