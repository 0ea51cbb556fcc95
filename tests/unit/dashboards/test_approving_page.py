"""The page behind an approval's link: looking decides nothing, a genuine link decides once, any other one never."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboards.console.approving import MOST_BODY, MOST_FIELDS, add_routes, phase_in
from dashboards.console.main import policy_of
from tidemill import approval
from tidemill.clock import ManualClock
from tidemill.errors import Retry
from tidemill.io import rulings
from tidemill.settings import Settings
from tidemill.settings.gate import ApprovalSettings

NOW = 1_800_000_000_000
KEY = "a key of some length"
JOB = "ab" * 16


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "key").write_text(KEY)
    return Settings(data_dir=tmp_path, approval=ApprovalSettings(key_file=str(tmp_path / "key")))


def visitor(settings: Settings, phase: str = "approving") -> TestClient:
    app = FastAPI()
    add_routes(app, settings, ManualClock(NOW), lambda _: phase)
    return TestClient(app)


def test_a_genuine_link_decides_once(settings: Settings) -> None:
    client, link = visitor(settings), approval.path(KEY.encode(), JOB, NOW + 1)
    assert "<form" in client.get(link).text
    assert rulings.waiting(settings) == [], "looking decides nothing"
    said = {"decision": "approve", "by": "Ada <script>", "why": "it is\nfine"}
    answer = client.post(link, data=said)
    assert answer.status_code == 200 and f"Job {JOB}: approved." in answer.text
    ((_, ruling),) = rulings.waiting(settings)
    assert ruling == rulings.Ruling(job_id=JOB, approved=True, by="Ada <script>", why="it is fine")
    assert client.post(link, data={"decision": "reject"}).status_code == 409


def test_no_other_link_does(settings: Settings) -> None:
    client, good = visitor(settings), approval.path(KEY.encode(), JOB, NOW + 1)
    for link in (
        approval.path(b"another key of length", JOB, NOW + 1),
        approval.path(KEY.encode(), JOB, NOW - 1),
        approval.path(KEY.encode(), JOB, NOW + 1, "another-deployment"),
        good.replace(JOB, "cd" * 16),
        f"/approvals/{JOB}",
    ):
        assert client.get(link).status_code == client.post(link, data={"decision": "approve"}).status_code == 403
    assert client.post(good, data={"decision": "maybe"}).status_code == 400
    assert client.post(good, content=b"x" * (MOST_BODY + 1)).status_code == 413
    assert client.post(good, data={f"field{n}": "x" for n in range(MOST_FIELDS + 1)}).status_code == 400
    assert rulings.waiting(settings) == []
    assert visitor(Settings(data_dir=settings.data_dir)).get(good).status_code == 403, "without a key there are none"


@pytest.mark.parametrize("phase", ["rejected", "registered", "failed", "declined"])
def test_a_job_that_has_ended_waits_for_nobody(settings: Settings, phase: str) -> None:
    link = approval.path(KEY.encode(), JOB, NOW + 1)
    answer = visitor(settings, phase).post(link, data={"decision": "approve"})
    assert answer.status_code == 409 and phase in answer.text
    assert rulings.waiting(settings) == []


@pytest.mark.parametrize("phase", ["", "gating"])
def test_a_word_on_a_job_that_is_not_known_to_wait_is_noted(settings: Settings, phase: str) -> None:
    link = approval.path(KEY.encode(), JOB, NOW + 1)
    answer = visitor(settings, phase).post(link, data={"decision": "approve"})
    assert answer.status_code == 200 and "approved, noted" in answer.text
    assert len(rulings.waiting(settings)) == 1


def test_the_phase_is_not_known_while_the_store_is_away() -> None:
    class Away:
        def rows(self, *_: object) -> list[dict[str, Any]]:
            raise Retry("the store does not answer")

    class Here:
        def rows(self, _: str, given: dict[str, str]) -> list[dict[str, Any]]:
            return [{"phase": "approving"}] if given == {"job_id": JOB} else []

    assert phase_in(cast(Any, Away()), JOB) == phase_in(cast(Any, Here()), "cd" * 16) == ""
    assert phase_in(cast(Any, Here()), JOB) == "approving"


def test_its_page_runs_no_script_and_posts_to_the_console_alone() -> None:
    policy = policy_of(f"/approvals/{JOB}")
    assert "form-action 'self'" in policy and "default-src 'none'" in policy
    assert "form-action 'none'" in policy_of("/gate/x")
