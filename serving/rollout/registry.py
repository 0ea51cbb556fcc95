"""MLflow's aliases and tags follow the rollout; each call is safe to repeat."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import msgspec

from serving.rollout.aliases import ALIASES, Found, number_of
from tidemill.events import RolloutState
from tidemill.io.mlflow import DECLARED_TAG, Mlflow

OURS_TAG = "tidemill.aliases"
"""Of a registered model: which version numbers we have put each alias on, so that others show as somebody's move."""
JOB_TAG = "tidemill.job_id"


class Registry:
    """Registered model versions of one MLflow server. Every call raises Retry when it does not answer."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._mlflow = Mlflow(url, timeout_s=timeout_s)

    def promote(self, state: RolloutState) -> None:
        """Alias ``champion`` to the candidate, ``previous`` to the champion before, no ``candidate`` any more."""
        versions = self._mlflow.versions(state.registered_name)
        candidate, before = number_of(state.candidate_version), number_of(state.champion_version)
        if candidate not in versions:
            return
        found = self.found(state.registered_name)
        previous = {"previous": before} if before in versions else {}
        self.put(state.registered_name, found, {"champion": candidate, **previous, **_no_candidate(found, candidate)})
        self.note(state)

    def reject(self, state: RolloutState) -> None:
        """Mark the candidate as rolled back (or failed) with the reason; alias ``candidate`` goes.

        Where it had become ``champion``, the one before is that again.
        """
        versions = self._mlflow.versions(state.registered_name)
        candidate, before = number_of(state.candidate_version), number_of(state.champion_version)
        if candidate not in versions:
            return
        found = self.found(state.registered_name)
        back: dict[str, str | None] = {}
        if before in versions and found.aliases.get("champion") == candidate:
            back = {"champion": before, "previous": None}
        self.put(state.registered_name, found, back | _no_candidate(found, candidate))
        self.note(state)
        self._mlflow.tag(state.registered_name, candidate, "tidemill.rollout_reason", state.reason[:4000])

    def note(self, state: RolloutState) -> None:
        """Say in a version's tags which rollout it is in, and where that stands."""
        phase = "champion" if state.phase == "promoting" else state.phase
        for key, value in (("tidemill.rollout", phase), ("tidemill.rollout_id", state.rollout_id)):
            self._mlflow.tag(state.registered_name, number_of(state.candidate_version), key, value)

    def say(self, name: str, number: str, what: str) -> None:
        """Answer whoever moved an alias to a version, in its tags."""
        self._mlflow.tag(name, number, "tidemill.order", what[:4000])

    def jobs(self, name: str) -> dict[str, str]:
        """The job that made each version, by version number; empty where a version names none."""
        return {number: tags.get(JOB_TAG, "") for number, tags in self._mlflow.versions(name).items()}

    def found(self, name: str) -> Found:
        """The aliases of a registered model; none where there is no such model."""
        model = self._mlflow.model(name)
        if model is None:
            return Found(aliases={}, ours={}, there=False)
        aliases, tags = model
        declared = {key: value for key, value in tags.items() if key.startswith(DECLARED_TAG)}
        return Found(aliases=aliases, ours=_ours(tags.get(OURS_TAG)), declared=declared)

    def declare(self, name: str, found: Found, tags: Mapping[str, str]) -> None:
        """Say in the tags of a registered model which declared versions stand where, and no others; where there is no
        such model yet, it is made."""
        if tags and not found.there:
            self._mlflow.make_model(name)
        for key, value in tags.items():
            if found.declared.get(key) != value:
                self._mlflow.tag_model(name, key, value[:4000])
        for key in found.declared.keys() - tags.keys():
            self._mlflow.drop_model_tag(name, key)

    def put(self, name: str, found: Found, changes: Mapping[str, str | None]) -> None:
        """Set aliases, or drop them (None): 1. note what is meant beside what is there; 2. do it; 3. note what holds.

        So a crash in between leaves nothing that looks like somebody's move.
        """
        if not changes:
            return
        known: Mapping[str, Collection[str]] = _held(found) if found.ours is None else found.ours
        meant = {alias: _all(found.aliases.get(alias), new, *known.get(alias, ())) for alias, new in changes.items()}
        self._note_ours(name, {**known, **meant})
        for alias, new in changes.items():
            if new is None:
                self._mlflow.drop_alias(name, alias)
            else:
                self._mlflow.alias(name, alias, new)
        self._note_ours(name, {**known, **{alias: _all(new) for alias, new in changes.items()}})

    def settle(self, name: str, found: Found) -> None:
        """Note as ours what is there and true, if that is not noted yet."""
        held = _held(found)
        if found.ours is None or {alias: list(each) for alias, each in found.ours.items() if each} != held:
            self._note_ours(name, held)

    def close(self) -> None:
        """Give the connections back."""
        self._mlflow.close()

    def _note_ours(self, name: str, ours: Mapping[str, Collection[str]]) -> None:
        self._mlflow.tag_model(
            name, OURS_TAG, msgspec.json.encode({a: list(each) for a, each in ours.items()}).decode()
        )


def _held(found: Found) -> dict[str, list[str]]:
    return {alias: [number] for alias, number in found.aliases.items() if alias in ALIASES}


def _no_candidate(found: Found, version: str) -> dict[str, str | None]:
    """The alias goes, unless it names a newer candidate by now."""
    return {"candidate": None} if found.aliases.get("candidate") == version else {}


def _all(*numbers: str | None) -> list[str]:
    return sorted({number for number in numbers if number is not None})


def _ours(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text, type=dict[str, list[str]])
    except msgspec.DecodeError:
        return None
