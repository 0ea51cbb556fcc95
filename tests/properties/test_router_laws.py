"""Laws of the router: sticky, monotone, true to the weights."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from serving.router import first_route, pick_arm, point, problem, shadow_for
from tidemill.events import Arm, Route, Shadow
from tidemill.settings import Settings

sessions = st.text(min_size=1, max_size=40)
weights = st.integers(0, 100)


def route(canary: int, *, rollout: str = "r", shadow: int | None = None) -> Route:
    return Route(
        pipeline="talk",
        epoch=1,
        time_ms=1,
        arms=(
            Arm(variant="champion", model_version="talk-v1", model="talk-v1", engine="main", weight=100 - canary),
            Arm(variant="canary", model_version="talk-v2", model="talk-v2", engine="main", weight=canary),
        ),
        shadow=None
        if shadow is None
        else Shadow(model_version="talk-v3", model="talk-v3", engine="main", sample_percent=shadow),
        rollout_id=rollout,
    )


@given(sessions, weights, weights)
def test_raising_the_canary_keeps_its_sessions_and_a_session_keeps_its_arm(session: str, one: int, other: int) -> None:
    low, high = sorted((one, other))
    before, after = pick_arm(route(low), session), pick_arm(route(high), session)
    assert before == pick_arm(route(low), session)
    if before.variant == "canary":
        assert after.variant == "canary"


@given(sessions)
def test_nobody_and_everybody(session: str) -> None:
    assert pick_arm(route(0), session).variant == "champion"
    assert pick_arm(route(100), session).variant == "canary"
    assert shadow_for(route(0, shadow=0), session) is None
    assert shadow_for(route(0, shadow=100), session) is not None
    assert shadow_for(route(0), session) is None
    assert 0 <= point(session) < 100


def test_shares_are_as_the_weights_say() -> None:
    n = 20_000
    for weight in (1, 5, 25, 50):
        hit = sum(pick_arm(route(weight), f"s{i}").variant == "canary" for i in range(n)) / n * 100
        assert abs(hit - weight) < 4 * (weight * (100 - weight) / n) ** 0.5
        seen = sum(shadow_for(route(0, shadow=weight), f"c{i}") is not None for i in range(n)) / n * 100
        assert abs(seen - weight) < 4 * (weight * (100 - weight) / n) ** 0.5


def test_another_rollout_draws_anew() -> None:
    def canaries(rollout: str) -> set[int]:
        return {i for i in range(2_000) if pick_arm(route(10, rollout=rollout), f"s{i}").variant == "canary"}

    assert len(canaries("a") & canaries("b")) < 60


def test_a_route_that_cannot_be_applied_says_why() -> None:
    good = route(30)
    assert problem(good, {"talk"}, {"main"}) is None
    assert "pipeline" in str(problem(good, {"other"}, {"main"}))
    assert "engine" in str(problem(good, {"talk"}, {"other"}))
    assert "90, not 100" in str(problem(_lighter(good), {"talk"}, {"main"}))
    assert "no arms" in str(problem(Route(pipeline="talk", epoch=1, time_ms=1, arms=()), {"talk"}, {"main"}))


def _lighter(good: Route) -> Route:
    champion = Arm(variant="champion", model_version="v", model="v", engine="main", weight=90)
    return Route(pipeline=good.pipeline, epoch=1, time_ms=1, arms=(champion,))


def test_without_a_route_the_settings_champion_serves() -> None:
    def first(**pipeline: object) -> Route:
        given = {"engine": "main", "champion": "talk-v1", **pipeline}
        engines = {"main": {}, "other": {"base_model": "large"}}
        return first_route(Settings.model_validate({"engines": engines, "pipelines": {"talk": given}}), "talk")

    assert first(champion_adapter="adapters/talk-v1").champion.model == "talk-v1"
    assert first().champion.model == "base"
    assert first().epoch == 0
    elsewhere = first(versions={"talk-v1": {"kind": "model", "engine": "other"}}).champion
    assert (elsewhere.engine, elsewhere.model) == ("other", "large")
