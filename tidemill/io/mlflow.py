"""MLflow's registry over its REST interface: light, short time-outs, each call safe to repeat.

Where a whole run is written (figures, artifacts) ``retrain.registry`` takes MLflow's own client instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx

from tidemill.errors import Retry, without_credentials

DECLARED_TAG = "tidemill.declared."
"""Of a registered model, with an alias behind it: the version that stands there and is declared in the settings, so it
has no number of MLflow's that could have the alias; with ``.is`` behind that, too: what it is, in words."""
_API = "/api/2.0/mlflow"
_MISSING = 404
PAGE = 1_000


class Mlflow:
    """Registered models and versions of one server. Every call blocks for seconds at most, or raises Retry."""

    def __init__(self, url: str, *, timeout_s: float = 5.0) -> None:
        self._http = httpx.Client(base_url=url.rstrip("/") + _API, timeout=timeout_s, trust_env=False)

    def versions(self, name: str) -> dict[str, dict[str, str]]:
        """Tags by version number of one registered model; empty where there is none of that name."""
        found = self._pages("/model-versions/search", {"filter": f"name='{name}'"}, "model_versions") if name else ()
        return {str(each["version"]): _tags(each) for each in found}

    def model(self, name: str) -> tuple[dict[str, str], dict[str, str]] | None:
        """Version number by alias, and the tags, of a registered model; None where there is none of that name."""
        found = self.ask("GET", "/registered-models/get", params={"name": name}).get("registered_model")
        if not found:
            return None
        return {str(each["alias"]): str(each["version"]) for each in found.get("aliases") or ()}, _tags(found)

    def alias(self, name: str, alias: str, version: str) -> None:
        """Let an alias name a version."""
        self.ask("POST", "/registered-models/alias", body={"name": name, "alias": alias, "version": version})

    def drop_alias(self, name: str, alias: str) -> None:
        """Take an alias away; none is fine, too."""
        self.ask("DELETE", "/registered-models/alias", body={"name": name, "alias": alias})

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        """Set a tag of a version."""
        self.ask("POST", "/model-versions/set-tag", body={"name": name, "version": version, "key": key, "value": value})

    def tag_model(self, name: str, key: str, value: str) -> None:
        """Set a tag of a registered model."""
        self.ask("POST", "/registered-models/set-tag", body={"name": name, "key": key, "value": value})

    def drop_model_tag(self, name: str, key: str) -> None:
        """Take a tag of a registered model away; none is fine, too."""
        self.ask("DELETE", "/registered-models/delete-tag", body={"name": name, "key": key})

    def make_model(self, name: str) -> None:
        """Make a registered model without versions; Retry where there is one of that name by now."""
        self.ask("POST", "/registered-models/create", body={"name": name})

    def ask(
        self, method: str, path: str, *, body: dict[str, Any] | None = None, params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """One request; an empty answer where the thing asked for is not there."""
        try:
            answer = self._http.request(method, path, json=body, params=params)
        except httpx.HTTPError as error:
            why = without_credentials(str(error)) or type(error).__name__
            raise Retry(f"MLflow does not answer {path}: {why}") from error
        if answer.status_code == _MISSING or (answer.status_code == 400 and "not found" in answer.text):
            return {}
        if answer.status_code >= 400:
            raise Retry(f"MLflow: {path} gave {answer.status_code}: {answer.text[:300]}", after_s=5)
        try:
            found: Any = answer.json()
        except ValueError as error:
            raise Retry(f"MLflow: {path} gave no JSON") from error
        if not isinstance(found, dict):
            raise Retry(f"MLflow: {path} gave no JSON object", after_s=5)
        return found

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _pages(self, path: str, params: dict[str, Any], key: str) -> Iterator[dict[str, Any]]:
        token = ""
        while True:
            more = {"page_token": token} if token else {}
            answer = self.ask("GET", path, params={**params, "max_results": PAGE, **more})
            yield from answer.get(key) or ()
            token = str(answer.get("next_page_token") or "")
            if not token:
                return


def _tags(found: dict[str, Any]) -> dict[str, str]:
    return {str(tag["key"]): str(tag.get("value", "")) for tag in found.get("tags") or ()}
