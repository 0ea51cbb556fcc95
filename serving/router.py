"""Which version answers a session, and whether a shadow answers beside it: pure, no look-up, no state.

A session's point in [0, 100) is a hash of pipeline, rollout and session. The canary takes the points below its
weight, so a session keeps its arm while the weights stand still, and raising the canary's weight never takes a
session out of the canary. Another rollout draws the points anew: it is not always the same people who go first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from serving.versions import first_folder, need_of
from tidemill.events import Arm, Route, Shadow
from tidemill.settings import Settings
from tidemill.settings.versions import model_version

_SCALE = 100 / 2**64


def point(*parts: str) -> float:
    """Where these parts fall in [0, 100): uniform over parts, always the same for the same parts."""
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=8).digest()
    return min(int.from_bytes(digest, "big") * _SCALE, 99.999999)


def pick_arm(route: Route, session: str) -> Arm:
    """The arm that answers this session."""
    if len(route.arms) == 1:
        return route.arms[0]
    where = point("arm", route.pipeline, route.rollout_id, session)
    reached = 0.0
    for arm in route.arms:
        if arm.variant != "champion":
            reached += arm.weight
            if where < reached:
                return arm
    return route.champion


def shadow_for(route: Route, call_id: str) -> Shadow | None:
    """The shadow that answers this call too, if it is in the shadow's sample."""
    shadow = route.shadow
    if shadow is None or point("shadow", route.pipeline, call_id) >= shadow.sample_percent:
        return None
    return shadow


def asked_twice(pipeline: str, call_id: str, share: float) -> bool:
    """Whether this call is in the share, in [0, 1], that the champion answers twice."""
    return point("agreement", pipeline, call_id) < 100 * share


def first_route(settings: Settings, name: str) -> Route:
    """The route of a pipeline that no rollout has touched: the settings' champion serves everything, epoch 0."""
    pipeline = settings.pipelines[name]
    folder = first_folder(settings, model_version(pipeline, pipeline.champion))
    place = need_of(settings, name, pipeline.champion, folder).place
    arm = Arm(variant="champion", model_version=pipeline.champion, model=place.model, engine=place.engine, weight=100)
    return Route(pipeline=name, epoch=0, time_ms=0, arms=(arm,), reason="settings")


def problem(route: Route, pipelines: Collection[str], engines: Collection[str]) -> str | None:
    """Why this route cannot be applied; None when it can."""
    if route.pipeline not in pipelines:
        return f"pipeline {route.pipeline!r} is not in the settings"
    if not route.arms:
        return "it has no arms"
    if (total := sum(arm.weight for arm in route.arms)) != 100:
        return f"its weights add up to {total}, not 100"
    named = [arm.engine for arm in route.arms] + ([route.shadow.engine] if route.shadow else [])
    unknown = sorted(set(named) - set(engines))
    return f"engine {unknown[0]!r} is not in the settings" if unknown else None
