"""Which key the demo's users give their feedback with."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from producers.traffic.calls import Answer, tell
from producers.traffic.habits import AUDIT, Opinion


class Client:
    """Takes feedback, in the place of an HTTP session with the users' key."""

    def __init__(self) -> None:
        self.headers: list[dict[str, str]] = []

    def post(self, _: str, *, json: dict[str, Any], headers: dict[str, str]) -> Client:
        self.headers.append(headers)
        return self

    async def __aenter__(self) -> Client:
        self.status = 202
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(("source", "headers"), [(AUDIT, {"Authorization": "Bearer tma-key"}), ("user", {})])
def test_reviewers_have_the_audit_key_and_users_do_not(source: str, headers: dict[str, str]) -> None:
    client = Client()
    opinion = Opinion("label", source, value="right")
    assert asyncio.run(tell(client, Answer("id", "text"), opinion, audit_key="tma-key"))  # type: ignore[arg-type]
    assert client.headers == [headers]
