"""A build that talks much, and one that fails with a user's words in its error."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Consumer

from consumers.evidence import report
from consumers.evidence.main import Evidence
from consumers.evidence.why import Job
from tests.unit.consumers_evidence.made import call, job
from tidemill.io.service import Service
from tidemill.settings import Settings


@pytest.fixture
def reader() -> Consumer:
    return Consumer({"bootstrap.servers": "127.0.0.1:1", "group.id": "none", "log_level": 0})


@pytest.mark.timeout(30)
def test_a_build_that_talks_much_ends_all_the_same(
    tmp_path: Path, reader: Consumer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    talker = tmp_path / "talker"
    talker.write_text("#!/bin/sh\nhead -c 1000000 /dev/zero >&2; echo the end >&2; exit 3\n")
    talker.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(talker))
    settings = Settings(data_dir=tmp_path)
    out = tmp_path / "evidence" / "alarm"
    made = Evidence(settings, Service(settings, "evidence"))._build(reader, job([], [], out=str(out)), out)
    assert made == "too_few_calls" and "the end" in caplog.text
    assert list(out.parent.iterdir()) == [], "nothing left behind"


def test_what_a_build_says_of_its_error_quotes_no_text(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(given: Job) -> int:
        raise ValueError(f"could not convert {given.current[0].question}")

    file = tmp_path / "job"
    file.write_bytes(msgspec.json.encode(job([call(1)], [call(2, question="swordfish")])))
    monkeypatch.setattr(report, "build", fail)
    monkeypatch.setattr(report, "_stand_back", lambda: None)
    monkeypatch.setattr(sys, "argv", ["report", "--job", str(file)])
    with pytest.raises(SystemExit) as ended:
        report.main()
    said = capsys.readouterr().err
    assert ended.value.code == 1
    assert "ValueError" in said and "in fail" in said and "swordfish" not in said
