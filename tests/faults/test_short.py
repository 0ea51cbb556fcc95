"""The short form: every role and the store killed in one run, and the checkers tried on what is really there."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.faults.deployment import Deployment
from tests.faults.observed import messages
from tests.faults.scenario_run import Judge, run
from tests.faults.scenarios import SHORT
from tidemill.codec import encode
from tidemill.io.kafka import producer
from tidemill.topics import THRESHOLDS


@pytest.mark.timeout(420)
def test_nothing_is_lost_or_doubled_and_the_checkers_would_see_it(tmp_path: Path) -> None:
    record = run(SHORT, 0, tmp_path, then=tampered)
    assert record.wrong == {}
    assert sum(record.faults.values()) == 6 and record.restarts >= 5
    assert record.poison > 50 and record.windows > 100 and record.alarms == 3


def tampered(deployment: Deployment, judge: Judge) -> None:
    """Spoil one thing after another in the real store and the real topic; each is noticed."""
    store = judge.store
    place = "_topic = 'inference.responses' AND _partition = 0 AND _offset = {offset:UInt64}"
    (found,) = store.rows("SELECT min(_offset) AS offset FROM responses WHERE _partition = 0")
    store.command(f"INSERT INTO responses SELECT * FROM responses WHERE {place}", found)
    judge.comes_to({"duplicates": 1})
    assert deployment.audited()["duplicates"] == 1
    store.command(f"ALTER TABLE responses DELETE WHERE {place} SETTINGS mutations_sync = 2", found)
    judge.comes_to({"missing": 1})
    assert deployment.audited()["missing"] == 1
    store.command(
        "INSERT INTO windows SELECT * REPLACE (revision + 9 AS revision, n + 1 AS n, 999999 AS _offset) FROM windows "
        "WHERE metric = 'answers' LIMIT 1"
    )
    judge.comes_to({"missing": 1, "unknown": 1, "windows_differing": 1})
    say_again_under_another_id(deployment)
    assert judge.judged().alarms_doubled == 1


def say_again_under_another_id(deployment: Deployment) -> None:
    """One alarm more for a cause that has one."""
    (said, *_) = messages(deployment.settings, THRESHOLDS.name)
    event = msgspec.structs.replace(THRESHOLDS.decoder()(said.value()), id="another")
    made = producer(deployment.settings, "faults-tamper")
    made.produce(THRESHOLDS.name, encode(event), said.key())
    assert made.flush(30) == 0
