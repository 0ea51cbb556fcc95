"""The route that belongs to each phase of a rollout: pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from serving import router
from serving.versions import Placement
from tidemill.events import Arm, RolloutState, Route, Shadow
from tidemill.settings import Settings


def first_route(settings: Settings, name: str, now_ms: int) -> Route:
    """The champion of the settings alone: the route of a pipeline that has none yet."""
    bare = router.first_route(settings, name)
    return msgspec.structs.replace(bare, epoch=1, time_ms=now_ms, reason="first champion, from the settings")


def route_of(
    state: RolloutState, before: Route, places: Mapping[str, Placement], shadow_percent: int, now_ms: int
) -> Route:
    """The route that ``state`` asks for, one epoch after ``before``. ``places``: where both its versions are served."""
    old, new = state.champion_version, state.candidate_version
    arms: tuple[Arm, ...] = (_arm("champion", old, places, 100),)
    shadow = None
    if state.phase == "shadow":
        place = places[new]
        shadow = Shadow(model_version=new, model=place.model, engine=place.engine, sample_percent=shadow_percent)
    elif state.phase == "canary":
        arms = (_arm("champion", old, places, 100 - state.weight), _arm("canary", new, places, state.weight))
    elif state.phase in ("promoting", "champion"):
        arms = (_arm("champion", new, places, 100),)
    return Route(
        pipeline=state.pipeline,
        epoch=before.epoch + 1,
        time_ms=now_ms,
        arms=arms,
        shadow=shadow,
        reason=state.reason,
        rollout_id=state.rollout_id,
    )


def champion_of(route: Route) -> Arm:
    """The arm that is the champion."""
    return next(arm for arm in route.arms if arm.variant == "champion")


def places_of(route: Route) -> set[Placement]:
    """What the engines must serve for this route."""
    named = {Placement(arm.engine, arm.model) for arm in route.arms}
    return named | {Placement(route.shadow.engine, route.shadow.model)} if route.shadow else named


def _arm(variant: Literal["champion", "canary"], version: str, places: Mapping[str, Placement], weight: int) -> Arm:
    place = places[version]
    return Arm(variant=variant, model_version=version, model=place.model, engine=place.engine, weight=weight)
