"""A champion, merged and in int8, takes over from its adapter on a second vLLM under live traffic, and goes back.

The commands are those of docs/how-to: merge, quantize, rollout start, rollout rollback. Run by `make quantize-check`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from producers.traffic.story import demo_habits
from tests.quantize.engine import serving
from tidemill.clock import SystemClock
from tidemill.events import RolloutState
from tidemill.io.clickhouse import Store
from tidemill.local.demo import books
from tidemill.local.demo.observer import Observer
from tidemill.local.demo.overrides import with_overrides, write_settings
from tidemill.local.demo.place import place_models
from tidemill.local.demo.users import Users
from tidemill.local.ports import free_port_base
from tidemill.local.stack import Stack
from tidemill.settings import Settings, load_settings
from tidemill.settings.load import FILE_VARIABLE

pytestmark = pytest.mark.timeout(1_800)
ROOT = Path(__file__).parents[2]
BLUE, GREEN = "schedule-v1", "schedule-v1001"
SERVED = """
SELECT model_version, count() AS calls, countIf(status != 'ok') AS failed, quantileExact(0.5)(e2e_ms) AS median_ms
FROM responses WHERE pipeline = 'schedule' AND role = 'client' GROUP BY model_version
"""
SCORED = """
SELECT model_version, count() AS scores, avg(score) AS quality FROM feedback
WHERE pipeline = 'schedule' AND source = 'scorer' AND metric = 'exact_match' AND label_source = 'audit'
    AND variant != 'shadow' GROUP BY model_version
"""


def deployment(folder: Path, green: str) -> Settings:
    """The demo's deployment with a second engine, and what it serves as a version; written to a file."""
    own = with_overrides(
        load_settings(ROOT / "tidemill.yaml", {}),
        {
            "data_dir": str(folder),
            "local.port_base": free_port_base(),
            "engines.green": {"url": f"{green}/v1", "base_model": "schedule-int8"},
            "pipelines.schedule.versions": {GREEN: {"kind": "model", "engine": "green"}},
        },
    )
    return write_settings(own, folder / "tidemill.yaml")


def tidemill(settings: Settings, *words: str) -> None:
    """A command as people give it."""
    environment = os.environ | {FILE_VARIABLE: str(settings.data_dir / "tidemill.yaml")}
    command = [sys.executable, "-m", "tidemill.cli.main", *words]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    print(ended.stdout)


def test_int8_on_an_engine_of_its_own_takes_over_and_goes_back(tmp_path: Path) -> None:
    folder, merged, int8 = tmp_path / "deployment", tmp_path / "merged", tmp_path / "int8"
    # Where green will listen is not known yet, and making the model asks for the settings alone.
    place_models(made := deployment(folder, "http://127.0.0.1:1"), lambda _what, _facts: None)
    tidemill(made, "merge", BLUE, "--out", str(merged))
    tidemill(made, "quantize", "schedule", "--model", str(merged), "--out", str(int8))
    with serving(int8, "schedule-int8", tmp_path) as green:
        settings = deployment(folder, green)
        with Stack(settings, settings_file=folder / "tidemill.yaml") as stack:
            stack.start()
            with (
                Observer(settings) as observer,
                Users(settings, demo_habits(), seed=0, clock=SystemClock()) as users,
            ):
                tidemill(settings, "rollout", "start", "schedule", GREEN, "--reason", "in eight bits it is cheaper")
                champion = reached(observer, "champion")
                answered = len(users.tally.answered_ids)
                assert observer.wait(lambda: len(users.tally.answered_ids) > answered + 100 or None, 120)
                tidemill(settings, "rollout", "rollback", "schedule", "--reason", "the answers are too long")
                back = reached(observer, "rolled_back")
                answered = len(users.tally.answered_ids)
                assert observer.wait(lambda: len(users.tally.answered_ids) > answered + 100 or None, 120)
                users.stop()
                store = Store(settings)
                rows = books.settled_rows(store, users.tally.answered_ids, threading.Event().wait)
                by_version = {row["model_version"]: row for row in store.rows(SERVED)}
                scored = {row["model_version"]: row for row in store.rows(SCORED)}
    sizes = {each.name: (each / "model.safetensors").stat().st_size for each in (merged, int8)}
    print(json.dumps({"served": by_version, "scored": scored, "bytes": sizes, "rows": rows.requests}))
    assert users.tally.failed.total() == 0, users.tally.failures
    assert (rows.lost, rows.duplicates) == (0, 0)
    assert set(by_version) == {BLUE, GREEN} and not any(row["failed"] for row in by_version.values())
    assert [verdict.check for verdict in champion.verdicts] == ["shadow", "canary-25", "canary-50"]
    assert back.champion_version == BLUE and back.weight == 0


def reached(observer: Observer, phase: str) -> RolloutState:
    """The rollout's state in that phase, which it must come to in time."""

    found = observer.wait(lambda: next((state for state in list(observer.rollouts) if state.phase == phase), None), 600)
    assert found is not None, observer.rollouts[-1:]
    return found
