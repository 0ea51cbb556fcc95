"""Work on a real Ray: never twice, never forgotten, ended by order, and it holds what it asked for. The real training,
killed there on its way, goes on from its checkpoint to the same weights.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import msgspec
import pytest

from producers.language import generate
from retrain.adapter import RESULT, WEIGHTS, file_digest
from retrain.controller.works import TRAINER
from retrain.launchers import folder as places
from retrain.launchers.chosen import ChosenLauncher
from retrain.launchers.launcher import LauncherAway, Work, WorkSeen
from tests.integration.ray_head import ray_head
from tests.integration.retrain_world import make_base
from tests.integration.test_training_resumed import EVERY, STEPS, run, spec
from tests.waiting import until
from tidemill.clock import SystemClock
from tidemill.local.corpus import jsonl
from tidemill.settings.launching import LauncherSettings

pytestmark = pytest.mark.timeout(600)
CLOCK = SystemClock()
WITHIN_S = 200.0


@pytest.fixture(scope="module")
def ray() -> Iterator[str]:
    with ray_head(cpus=2, gpus=1) as url:
        yield url


def work(folder: Path, url: str, do: str, gpus: int) -> Work:
    place = folder / "jobs" / f"{do}-{gpus}-{folder.name[-10:]}" / "train"
    on = LauncherSettings(kind="ray", url=url, gpus=gpus)
    module = "tests.unit.retrain.some_work"
    return Work(
        name="train",
        folder=place,
        module=module,
        spec={"do": do},
        result=place / "result.json",
        heavy=True,
        on=on,
        limit_s=300,
    )


def launcher() -> ChosenLauncher:
    """A controller's; a new one knows nothing but what is on the disk."""
    return ChosenLauncher(CLOCK.now_ms)


def started(made: Work) -> None:
    """Asked for again, as controllers do, while Ray does not answer."""

    def ask() -> bool:
        try:
            launcher().start(made, CLOCK.now_ms())
        except LauncherAway:
            return False
        return True

    until(ask, within_s=WITHIN_S, every_s=0.2, what="Ray takes the work")


def seen(made: Work, state: str) -> WorkSeen:
    by = launcher()

    def look() -> WorkSeen | None:
        try:
            found = by.look(made.folder, made.result)
        except LauncherAway:
            return None
        return found if found.state == state else None

    return until(look, within_s=WITHIN_S, every_s=0.2, what=f"the work is {state}")


def begun(made: Work) -> WorkSeen:
    """Running, its own words heard."""
    by = launcher()

    def look() -> WorkSeen | None:
        found = by.look(made.folder, made.result)
        return found if found.state == "running" and found.progress.get("step") else None

    return until(look, within_s=WITHIN_S, every_s=0.2, what="the work says how far it is")


def test_a_job_submitted_by_two_controllers_runs_once_is_followed_killed_tried_again_and_cancelled(
    ray: str, tmp_path: Path
) -> None:
    made = work(tmp_path, ray, "hang", 1)
    for controller in (launcher(), launcher()):
        controller.start(made, CLOCK.now_ms())
    first = begun(made)
    assert (first.attempts, first.progress["step"], first.progress["gpus"]) == (1, 1, "0")
    (attempt,) = places.attempts(made.folder)
    assert attempt.name in {job["submission_id"] for job in jobs(ray)} and len(jobs(ray)) == 1

    os.kill(first.progress["pid"], signal.SIGKILL)  # as a lost node would
    lost = seen(made, "ended")
    assert lost.gpu_seconds > 0 and "FAILED" in lost.last_words
    assert "train was ended by signal 9 (SIGKILL)" in (made.folder / places.LOG).read_text()

    launcher().start(made, CLOCK.now_ms())
    second = begun(made)
    assert (second.attempts, len(jobs(ray))) == (2, 2)
    waiting = work(tmp_path, ray, "finish", 1)
    launcher().start(waiting, CLOCK.now_ms())
    assert launcher().look(waiting.folder, waiting.result).state == "running", "it waits for the only GPU"
    assert launcher().look(waiting.folder, waiting.result).started_ms is None

    launcher().stop(made.folder)
    assert "STOPPED" in seen(made, "ended").last_words
    until(lambda: not Path(f"/proc/{second.progress['pid']}").exists() or zombie(second.progress["pid"]), within_s=60)

    done = seen(waiting, "done")  # the GPU has come free
    assert (done.result, done.attempts, done.progress["gpus"]) == ({"fine": True}, 1, "0")
    launcher().start(waiting, CLOCK.now_ms())
    assert len(jobs(ray)) == 3


def test_a_training_that_is_killed_on_ray_goes_on_there_to_the_same_bytes(ray: str, tmp_path: Path) -> None:
    make_base(tmp_path)
    (tmp_path / "rows.jsonl").write_bytes(jsonl(generate("schedule", "words", Random(1), 64)))
    whole = run(spec(tmp_path, "whole"))[-1]

    place, out = tmp_path / "jobs" / f"job-{tmp_path.name[-10:]}" / "train", tmp_path / "adapter"
    saved = {"out": str(out), "checkpoint": str(place / places.CHECKPOINT), "checkpoint_steps": EVERY}
    made = Work(
        name="train",
        folder=place,
        module=TRAINER,
        spec=msgspec.json.decode(spec(tmp_path, "on_ray").read_bytes()) | saved,
        result=out / RESULT,
        heavy=True,
        on=LauncherSettings(kind="ray", url=ray, checkpoint_steps=EVERY),
        limit_s=600,
    )
    started(made)
    until(lambda: places.checkpoint_step(place), within_s=200, every_s=0.01, what="a checkpoint is written")
    os.kill(places.pid(place), signal.SIGKILL)  # the attendant's: its work dies with it, as on a lost node
    lost = seen(made, "ended")
    at = places.checkpoint_step(place)
    assert EVERY <= at < STEPS and not out.exists()
    assert lost.attempts == 1 and "FAILED" in lost.last_words

    started(made)
    done = seen(made, "done")
    tries = places.attempts(place)
    assert [(each.launcher, each.step) for each in tries] == [("ray", 0), ("ray", at)]
    assert {each.name for each in tries} <= {job["submission_id"] for job in jobs(ray)}
    assert done.result["adapter_sha256"] == whole["adapter_sha256"] == file_digest(out / WEIGHTS)
    said = [msgspec.json.decode(line) for line in (place / places.OUT).read_bytes().splitlines()]
    assert {"stage": f"going on from step {at}"} in said
    assert places.losses(place)[-1][0] == STEPS and not (place / places.CHECKPOINT).exists()


def zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def jobs(url: str) -> list[dict[str, str]]:
    import httpx

    found: list[dict[str, str]] = httpx.get(f"{url}/api/jobs/", trust_env=False, timeout=10).json()
    return found
