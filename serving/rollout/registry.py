"""MLflow's aliases and tags follow the rollout: its REST interface, each call safe to repeat."""

from __future__ import annotations

from typing import Any

import httpx

from tidemill.errors import Retry
from tidemill.events import RolloutState

_API = "/api/2.0/mlflow"
_MISSING = 404


class Registry:
    """Registered model versions of one MLflow server. Every call raises Retry when it does not answer."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/") + _API, timeout=timeout_s, trust_env=False)

    def promote(self, state: RolloutState) -> None:
        """Alias ``champion`` to the candidate, ``previous`` to the champion before, no ``candidate`` any more."""
        versions = self._versions(state.registered_name)
        candidate = _number(versions, state.candidate_version)
        if candidate is None:
            return
        before = _number(versions, state.champion_version)
        if before is not None:
            self._alias(state.registered_name, "previous", before)
        self._alias(state.registered_name, "champion", candidate)
        self._drop_candidate(state, candidate)
        self._tag(state.registered_name, candidate, "tidemill.rollout", "champion")

    def reject(self, state: RolloutState) -> None:
        """Mark the candidate as rolled back (or failed) with the reason; alias ``candidate`` goes.

        Where it had become ``champion``, the one before is that again.
        """
        versions = self._versions(state.registered_name)
        candidate = _number(versions, state.candidate_version)
        if candidate is None:
            return
        before = _number(versions, state.champion_version)
        if before is not None and self._named(state.registered_name, "champion") == candidate:
            self._ask("DELETE", "/registered-models/alias", body={"name": state.registered_name, "alias": "previous"})
            self._alias(state.registered_name, "champion", before)
        self._tag(state.registered_name, candidate, "tidemill.rollout", state.phase)
        self._tag(state.registered_name, candidate, "tidemill.rollout_reason", state.reason[:4000])
        self._drop_candidate(state, candidate)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _versions(self, name: str) -> list[dict[str, Any]]:
        if not name:
            return []
        answer = self._ask("GET", "/model-versions/search", params={"filter": f"name='{name}'", "max_results": 200})
        found: list[dict[str, Any]] = answer.get("model_versions") or []
        return found

    def _alias(self, name: str, alias: str, version: str) -> None:
        self._ask("POST", "/registered-models/alias", body={"name": name, "alias": alias, "version": version})

    def _drop_candidate(self, state: RolloutState, version: str) -> None:
        """Remove the alias, unless it names a newer candidate by now."""
        if self._named(state.registered_name, "candidate") == version:
            at = {"name": state.registered_name, "alias": "candidate"}
            self._ask("DELETE", "/registered-models/alias", body=at)

    def _named(self, name: str, alias: str) -> str | None:
        """The version that an alias names; None where there is no such alias."""
        answer = self._ask("GET", "/registered-models/alias", params={"name": name, "alias": alias})
        version = answer.get("model_version", {}).get("version")
        return None if version is None else str(version)

    def _tag(self, name: str, version: str, key: str, value: str) -> None:
        body = {"name": name, "version": version, "key": key, "value": value}
        self._ask("POST", "/model-versions/set-tag", body=body)

    def _ask(
        self, method: str, path: str, *, body: dict[str, Any] | None = None, params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            answer = self._http.request(method, path, json=body, params=params)
        except httpx.HTTPError as error:
            raise Retry(f"MLflow does not answer {path}: {error or type(error).__name__}") from error
        if answer.status_code == _MISSING or (answer.status_code == 400 and "not found" in answer.text):
            return {}
        if answer.status_code >= 400:
            raise Retry(f"MLflow: {path} gave {answer.status_code}: {answer.text[:300]}", after_s=5)
        found: dict[str, Any] = answer.json()
        return found


def _number(versions: list[dict[str, Any]], version: str) -> str | None:
    """MLflow's number of our version: the number in its name; None when it is not registered."""
    ending = version.rpartition("-v")[2]
    return next((str(found["version"]) for found in versions if str(found["version"]) == ending), None)
