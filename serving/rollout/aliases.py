"""Which aliases the registry should hold, and what it means that it holds others: pure.

What a rollout says is the truth. An alias that somebody moved is a wish for a rollout of that version, never a jump: it
is put back until the rollout has come there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from serving.rollout.moves import OPEN
from serving.rollout.routes import champion_of
from tidemill.events import JobState, RolloutState, Route
from tidemill.ids import derived_id, pipeline_and_number
from tidemill.io.mlflow import DECLARED_TAG

ALIASES = ("champion", "canary", "candidate", "shadow", "previous")
WISHES = ("champion", "canary", "candidate")
"""Aliases that somebody may move to ask for a rollout; the first one moved counts."""
_TRIED = ("pending", "shadow", "canary")


@dataclass(frozen=True, kw_only=True)
class Found:
    """The aliases of one registered model, by version number. ``ours``: what was put there by us and may still show,
    by alias; None where nothing was ever put. ``declared``: its tags about declared versions; ``there``: there is one.
    """

    aliases: Mapping[str, str]
    ours: Mapping[str, Collection[str]] | None = None
    declared: Mapping[str, str] = field(default_factory=dict)
    there: bool = True


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """What is to be done: aliases to set (None: to drop), and a wish of somebody's, if there is one."""

    put: Mapping[str, str | None] = field(default_factory=dict)
    wish: str = ""
    """Number of the version that somebody wants; empty: nobody wants anything."""
    by: str = ""
    """The alias that was moved."""


def true_aliases(
    route: Route, rollouts: Iterable[RolloutState], jobs: Iterable[JobState], registered: Collection[str]
) -> dict[str, str]:
    """The aliases of a pipeline as its route and rollouts say, of ``registered`` version numbers alone."""
    numbers = {alias: number_of(version) for alias, version in meant(route, rollouts, jobs).items()}
    return {alias: number for alias, number in numbers.items() if number in registered}


def meant(route: Route, rollouts: Iterable[RolloutState], jobs: Iterable[JobState]) -> dict[str, str]:
    """The version that each alias means, whether the registry has it or not."""
    mine = sorted((s for s in rollouts if s.pipeline == route.pipeline), key=lambda s: (s.created_ms, s.rollout_id))
    champion = champion_of(route).model_version
    made = {"champion": champion}
    for state in mine:
        if state.phase in ("promoting", "champion") and state.candidate_version == champion:
            made["previous"] = state.champion_version
    waiting = max(_waiting(jobs, mine, route.pipeline), key=lambda job: (job.time_ms, job.job_id), default=None)
    if waiting is not None:
        made["candidate"] = waiting.candidate_version
    for state in mine:
        if state.phase in _TRIED:
            made["candidate"] = state.candidate_version
        if state.phase in ("shadow", "canary"):
            made[state.phase] = state.candidate_version
    return made


def declared_tags(meaning: Mapping[str, str], declared: Mapping[str, str]) -> dict[str, str]:
    """What a registered model's tags say of the ``declared`` versions (in words, by version) that an alias means."""
    tags: dict[str, str] = {}
    for alias, version in meaning.items():
        if version in declared:
            tags |= {f"{DECLARED_TAG}{alias}": version, f"{DECLARED_TAG}{alias}.is": declared[version]}
    return tags


def keeping(found: Found, truth: Mapping[str, str], unfinished: Collection[str] = ()) -> Keeping:
    """What to do about the aliases found. ``unfinished``: versions whose job is writing them just now; an alias on one
    is its business. The first time (nothing of ours is known) aliases are put right and nobody's wish is seen in them.
    """
    put: dict[str, str | None] = {}
    wishes: dict[str, str] = {}
    for alias in ALIASES:
        seen, wanted = found.aliases.get(alias), truth.get(alias)
        if seen == wanted or seen in unfinished:
            continue
        put[alias] = wanted
        if found.ours is not None and seen is not None and seen not in found.ours.get(alias, ()):
            wishes[alias] = seen
    by = next((alias for alias in WISHES if alias in wishes), "")
    return Keeping(put=put, wish=wishes.get(by, ""), by=by)


def refusal(version: str, route: Route, rollouts: Collection[RolloutState], jobs: Iterable[JobState]) -> str:
    """Why no rollout of ``version`` needs to be ordered, in words; empty: it is to be ordered."""
    if version == champion_of(route).model_version:
        return f"{version} is the champion"
    going = next((s for s in rollouts if s.pipeline == route.pipeline and s.phase in OPEN), None)
    if going is None:
        waits = any(job.candidate_version == version for job in _waiting(jobs, rollouts, route.pipeline))
        return "its rollout begins by itself" if waits else ""
    if going.candidate_version == version:
        return f"its rollout is under way ({going.phase})"
    return f"the rollout of {going.candidate_version} is under way; end it, or move the alias again afterwards"


def number_of(version: str) -> str:
    """MLflow's number of our version ``<pipeline>-v<N>``."""
    return pipeline_and_number(version)[1]


def _waiting(jobs: Iterable[JobState], rollouts: Iterable[RolloutState], pipeline: str) -> list[JobState]:
    """Jobs whose version is registered and whose rollout has not begun."""
    begun = {state.rollout_id for state in rollouts}
    mine = (job for job in jobs if job.pipeline == pipeline and job.phase == "registered")
    return [job for job in mine if derived_id("rollout", job.job_id) not in begun]
