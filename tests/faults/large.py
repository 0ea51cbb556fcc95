"""Five million events across twenty faults, then `tidemill audit` (the last part of ``make faults``)."""

from __future__ import annotations

import random
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.deployment import Deployment
from tests.faults.injector import Injector
from tests.faults.record import Record, append
from tests.faults.scenarios import LARGE, LARGE_LOAD
from tidemill.io.clickhouse import Store
from tidemill.io.lag import Lag
from tidemill.topics import REQUESTS, RESPONSES, SINK_GROUP

LOADED = (REQUESTS, RESPONSES)
SETTLE_S = 300.0


@pytest.mark.timeout(1800)
def test_an_audit_of_five_million_events_across_twenty_faults_finds_no_difference(tmp_path: Path) -> None:
    with Deployment(tmp_path, seed=0, members=LARGE.members) as deployment:
        deployment.start_roles()
        begun_s = time.monotonic()
        acknowledged, done = hurt_while_loaded(deployment)
        catch_up(deployment)
        said = deployment.audited(within_s=600)
        record = Record(
            scenario=LARGE.name,
            what=LARGE.what,
            faults=done,
            restarts=deployment.restarts(),
            rows=acknowledged,
            missing=said["missing"],
            duplicates=said["duplicates"],
            windows=said["report"]["windows"]["compared"],
            windows_differing=said["differing_windows"],
            audit_differs=int(not said["holds"]),
            wall_s=round(time.monotonic() - begun_s, 1),
        )
        append(record)
        assert record.wrong == {}, (said, deployment.logs())
        assert sum(done.values()) == 20
        assert acknowledged >= 5_000_000
        assert counted(deployment) == (acknowledged, acknowledged)


def hurt_while_loaded(deployment: Deployment) -> tuple[int, dict[str, int]]:
    """Inject the faults while the producer runs; how many events the broker acknowledged, and the faults done."""
    command = LARGE_LOAD.command(deployment.settings.kafka_bootstrap)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        injector = Injector(deployment, LARGE.faults(random.Random(0), LARGE.plot), time.monotonic())
        try:
            injector.run_while(lambda: load.poll() is None)
            assert load.returncode == 0 and load.stdout is not None
            return int(load.stdout.read()), injector.done
        finally:
            load.kill()
            injector.close()


def catch_up(deployment: Deployment) -> None:
    """Wait until the sink has answered for every event."""
    with Lag(deployment.settings, "faults-lag", SINK_GROUP, [topic.name for topic in LOADED]) as lag:
        assert lag.wait(SETTLE_S) == 0


def counted(deployment: Deployment) -> tuple[int, int]:
    """Rows of the loaded topics, and their distinct places, without a word of the audit's."""
    rows = places = 0
    for topic in LOADED:
        (found,) = Store(deployment.settings, query_timeout_s=600).rows(
            f"SELECT count() AS rows, uniqExact(_topic, _partition, _offset) AS places FROM {topic.table}"
        )
        rows, places = rows + found["rows"], places + found["places"]
    return rows, places
