"""MLflow's aliases and tags follow the rollout; each call is safe to repeat."""

from __future__ import annotations

from tidemill.events import RolloutState
from tidemill.io.mlflow import Mlflow


class Registry:
    """Registered model versions of one MLflow server. Every call raises Retry when it does not answer."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._mlflow = Mlflow(url, timeout_s=timeout_s)

    def promote(self, state: RolloutState) -> None:
        """Alias ``champion`` to the candidate, ``previous`` to the champion before, no ``candidate`` any more."""
        versions = self._mlflow.versions(state.registered_name)
        candidate = number_of(state.candidate_version)
        if candidate not in versions:
            return
        before = number_of(state.champion_version)
        if before in versions:
            self._mlflow.alias(state.registered_name, "previous", before)
        self._mlflow.alias(state.registered_name, "champion", candidate)
        self._drop_candidate(state, candidate)
        self._note(state, candidate, "champion")

    def reject(self, state: RolloutState) -> None:
        """Mark the candidate as rolled back (or failed) with the reason; alias ``candidate`` goes.

        Where it had become ``champion``, the one before is that again.
        """
        versions = self._mlflow.versions(state.registered_name)
        candidate, before = number_of(state.candidate_version), number_of(state.champion_version)
        if candidate not in versions:
            return
        if before in versions and self._named(state.registered_name, "champion") == candidate:
            self._mlflow.drop_alias(state.registered_name, "previous")
            self._mlflow.alias(state.registered_name, "champion", before)
        self._note(state, candidate, state.phase)
        self._mlflow.tag(state.registered_name, candidate, "tidemill.rollout_reason", state.reason[:4000])
        self._drop_candidate(state, candidate)

    def close(self) -> None:
        """Give the connections back."""
        self._mlflow.close()

    def _note(self, state: RolloutState, candidate: str, phase: str) -> None:
        self._mlflow.tag(state.registered_name, candidate, "tidemill.rollout", phase)
        self._mlflow.tag(state.registered_name, candidate, "tidemill.rollout_id", state.rollout_id)

    def _drop_candidate(self, state: RolloutState, version: str) -> None:
        """Remove the alias, unless it names a newer candidate by now."""
        if self._named(state.registered_name, "candidate") == version:
            self._mlflow.drop_alias(state.registered_name, "candidate")

    def _named(self, name: str, alias: str) -> str | None:
        """The number of the version that an alias names; None where there is no such alias."""
        found = self._mlflow.model(name)
        return found[0].get(alias) if found is not None else None


def number_of(version: str) -> str:
    """MLflow's number of our version ``<pipeline>-v<N>``."""
    return version.rpartition("-v")[2]
