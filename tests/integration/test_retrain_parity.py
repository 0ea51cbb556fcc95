"""The comparison with the engine: loaded under a name of its own, asked, unloaded, whatever happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from retrain.gate.asking import LOW_PRIORITY
from retrain.parity import MAX_BROKEN, BrokenUnderIt, Comparison, ParitySpec, compare, temporary_name
from retrain.work import save_settings
from tests.integration.fake_engine import FakeEngine
from tests.integration.retrain_world import write_settings
from tidemill.errors import Retry
from tidemill.settings import load_settings


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    made = FakeEngine(set())
    yield made
    made.close()


def spec(folder: Path, url: str, samples: dict[str, str]) -> ParitySpec:
    file = write_settings(folder / "tidemill.yaml", "plans", url)
    settings = load_settings(file, {"TIDEMILL_DATA_DIR": str(folder)})
    return ParitySpec(
        settings=str(save_settings(settings, folder)),
        job_id="j" * 32,
        pipeline="plans",
        adapter_dir=str(folder),
        adapter_digest="a" * 64,
        samples=[{"prompt": prompt, "answer": answer} for prompt, answer in samples.items()],
    )


def test_equal_answers_are_counted_and_nothing_stays_loaded(engine: FakeEngine, tmp_path: Path) -> None:
    given = spec(tmp_path, engine.url, {"one two": "one two", "three": "other"})
    made = compare(given)
    assert (made["asked"], made["equal"]) == (2, 1)
    assert engine.loaded == set()
    assert {body["model"] for body in engine.bodies} == {temporary_name(given)}
    assert all(body["priority"] == LOW_PRIORITY and body["temperature"] == 0 for body in engine.bodies)


def test_the_champion_answers_the_same_prompts_in_turn_and_both_are_timed(engine: FakeEngine, tmp_path: Path) -> None:
    given = spec(tmp_path, engine.url, {f"question {n}": f"question {n}" for n in range(20)})
    given = replace(given, champion="plans-v1")
    engine.loaded.add("plans-v1")
    engine.usage = True
    made = compare(given)
    ours = temporary_name(given)
    asked = [(body["model"], body["messages"][-1]["content"]) for body in engine.bodies]
    assert asked[:4] == [
        (ours, "question 0"),
        ("plans-v1", "question 0"),
        ("plans-v1", "question 1"),
        (ours, "question 1"),
    ]
    assert len(asked) == 20 + 13, "smoke_samples, and one that loads the adapter"
    assert made["equal"] == 20
    assert len(made["ratios"]["latency"]) == 12 and made["ratios"]["cost"] == [1.0] * 12
    assert engine.loaded == {"plans-v1"}


def test_a_champion_that_the_engine_does_not_know_is_said_and_stops_nothing(engine: FakeEngine, tmp_path: Path) -> None:
    made = compare(replace(spec(tmp_path, engine.url, {"one": "one", "two": "two"}), champion="plans-v9"))
    assert (made["equal"], made["ratios"]) == (2, {"latency": [], "cost": []})
    assert "plans-v9" in made["champion_refused"]


def test_an_adapter_left_by_a_killed_try_is_replaced(engine: FakeEngine, tmp_path: Path) -> None:
    given = spec(tmp_path, engine.url, {"one": "one"})
    engine.loaded.add(temporary_name(given))
    assert compare(given)["equal"] == 1
    assert engine.loaded == set()


def test_an_engine_that_refuses_is_a_problem_and_the_adapter_goes(engine: FakeEngine, tmp_path: Path) -> None:
    made = compare(spec(tmp_path, engine.url, {"refuse": "refuse"}))
    assert (made["asked"], "400" in made["problem"]) == (0, True)
    assert engine.loaded == set()


def test_an_engine_that_breaks_is_waited_for(engine: FakeEngine, tmp_path: Path) -> None:
    with pytest.raises(Retry, match="500"):
        compare(spec(tmp_path, engine.url, {"broken": "broken"}))
    assert engine.loaded == set()


def test_an_engine_that_breaks_under_the_adapter_every_time_is_its_problem(engine: FakeEngine, tmp_path: Path) -> None:
    given, comparison = spec(tmp_path, engine.url, {"broken": "broken"}), Comparison()
    for _ in range(MAX_BROKEN - 1):
        with pytest.raises(BrokenUnderIt):
            comparison(given)
    assert "500" in comparison(given)["problem"]
    assert engine.loaded == set()


def test_an_engine_that_is_away_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(Retry, match="does not answer"):
        compare(spec(tmp_path, "http://127.0.0.1:9/v1", {"one": "one"}))
