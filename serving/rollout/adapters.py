"""Which adapters each engine must hold, and which may go: pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from serving.rollout.moves import keeps_way_back
from serving.rollout.routes import champion_of, places_of
from serving.versions import Need, Placement, first_folder, need_of
from tidemill.events import GatewayStatus, RolloutState, Route
from tidemill.settings import Settings
from tidemill.settings.versions import model_version


def folder_of(settings: Settings, version: str, rollouts: Iterable[RolloutState]) -> Path | None:
    """Where a version's adapter lies; None when the base itself serves as this version."""
    for state in rollouts:
        if state.candidate_version == version and state.candidate_adapter_dir:
            return settings.resolve(state.candidate_adapter_dir)
    return first_folder(settings, version)


def need(settings: Settings, pipeline: str, version: str, rollouts: Iterable[RolloutState]) -> Need:
    """What a version needs before it can answer."""
    folder = folder_of(settings, model_version(settings.pipelines[pipeline], version), rollouts)
    return need_of(settings, pipeline, version, folder)


def wanted(
    settings: Settings, routes: Mapping[str, Route], rollouts: Mapping[str, RolloutState]
) -> dict[Placement, Path]:
    """Adapters to be held: first every pipeline's champion (of the routes, or of the settings), then the others.

    The way back stays loaded while a rollout is open, and while a new champion is watched.
    """
    serving: list[tuple[str, str]] = []
    others: list[tuple[str, str]] = []
    for name, pipeline in settings.pipelines.items():
        route = routes.get(name)
        serving.append((name, champion_of(route).model_version if route else pipeline.champion))
        tried = [] if route is None else [arm.model_version for arm in route.arms]
        if route is not None and route.shadow is not None:
            tried.append(route.shadow.model_version)
        for state in rollouts.values():
            if state.pipeline == name and keeps_way_back(state):
                tried += [state.champion_version, state.candidate_version]
        others += [(name, version) for version in tried]
    needs = [need(settings, name, version, rollouts.values()) for name, version in [*serving, *others]]
    return {
        one.place: one.adapter
        for one in needs
        if one.adapter is not None and settings.engines[one.place.engine].kind == "vllm"
    }


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
        route = routes.get(state.pipeline)
        if keeps_way_back(state) or state.pipeline not in settings.pipelines or route is None:
            continue
        for version in (state.candidate_version, state.champion_version):
            one = need(settings, state.pipeline, version, rollouts.values())
            if one.adapter is None or one.place in keep or one.place in places_of(route):
                continue
            if settings.engines[one.place.engine].kind == "vllm" and drained(version, route, live):
                found.add(one.place)
    return found


def drained(version: str, route: Route, live: Collection[GatewayStatus] | None) -> bool | None:
    """Whether every live gateway applies this route (or a later one) and has no call on ``version`` in flight.

    One that does not list the pipeline (it has other settings) serves none of its calls. None while the live gateways
    are not known: nobody heard is not nobody there.
    """
    if live is None:
        return None
    return all(
        status.epochs.get(route.pipeline, route.epoch) >= route.epoch and not status.in_flight.get(version)
        for status in live
    )
