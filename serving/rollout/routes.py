"""The route that belongs to each phase of a rollout: pure."""

from __future__ import annotations

from tidemill.events import Arm, RolloutState, Route, Shadow
from tidemill.settings import PipelineSettings
from tidemill.settings.model import EngineSettings


def first_route(name: str, pipeline: PipelineSettings, engine: EngineSettings, now_ms: int) -> Route:
    """The champion of the settings alone: the route of a pipeline that has none yet."""
    model = pipeline.champion if pipeline.champion_adapter else engine.base_model
    return Route(
        pipeline=name,
        epoch=1,
        time_ms=now_ms,
        arms=(_arm("champion", pipeline.champion, model, pipeline.engine, 100),),
        reason="first champion, from the settings",
    )


def route_of(state: RolloutState, before: Route, shadow_percent: int, now_ms: int) -> Route:
    """The route that ``state`` asks for, one epoch after ``before``."""
    champion = next(arm for arm in before.arms if arm.variant == "champion")
    engine = champion.engine
    old_model = state.champion_version if state.champion_adapter_dir else _base_name(before, state)
    arms: tuple[Arm, ...] = (_arm("champion", state.champion_version, old_model, engine, 100),)
    shadow = None
    if state.phase == "shadow":
        shadow = Shadow(
            model_version=state.candidate_version,
            model=state.candidate_version,
            engine=engine,
            sample_percent=shadow_percent,
        )
    elif state.phase == "canary":
        arms = (
            _arm("champion", state.champion_version, old_model, engine, 100 - state.weight),
            _arm("canary", state.candidate_version, state.candidate_version, engine, state.weight),
        )
    elif state.phase in ("promoting", "champion"):
        arms = (_arm("champion", state.candidate_version, state.candidate_version, engine, 100),)
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


def models_of(route: Route) -> set[str]:
    """Names under which the engine must serve for this route."""
    named = {arm.model for arm in route.arms}
    return named | {route.shadow.model} if route.shadow else named


def _base_name(route: Route, state: RolloutState) -> str:
    """How the engine calls a champion without an adapter: as the route before did."""
    return next(
        (arm.model for arm in route.arms if arm.model_version == state.champion_version), state.champion_version
    )


def _arm(variant: str, version: str, model: str, engine: str, weight: int) -> Arm:
    return Arm(variant=variant, model_version=version, model=model, engine=engine, weight=weight)  # type: ignore[arg-type]
