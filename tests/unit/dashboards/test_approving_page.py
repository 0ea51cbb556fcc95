"""The page behind an approval's link: looking decides nothing, a genuine link decides once, any other one never."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dashboards.console.approving import MOST_BODY, add_routes
from dashboards.console.main import policy_of
from tidemill import approval
from tidemill.clock import ManualClock
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


def visitor(settings: Settings) -> TestClient:
    app = FastAPI()
    add_routes(app, settings, ManualClock(NOW))
    return TestClient(app)


def test_a_genuine_link_decides_once(settings: Settings) -> None:
    client, link = visitor(settings), approval.path(KEY.encode(), JOB, NOW + 1)
    assert "<form" in client.get(link).text
    assert rulings.waiting(settings) == [], "looking decides nothing"
    said = {"decision": "approve", "by": "Ada <script>", "why": "it is\nfine"}
    assert client.post(link, data=said).status_code == 200
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
    assert rulings.waiting(settings) == []
    assert visitor(Settings(data_dir=settings.data_dir)).get(good).status_code == 403, "without a key there are none"


def test_its_page_runs_no_script_and_posts_to_the_console_alone() -> None:
    policy = policy_of(f"/approvals/{JOB}")
    assert "form-action 'self'" in policy and "default-src 'none'" in policy
    assert "form-action 'none'" in policy_of("/gate/x")
