"""The registry's aliases follow the rollout, and a moved one is a wish: every alias in every state of a rollout."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, cast, get_args

import httpx
import pytest

from serving.rollout import orders
from serving.rollout.aliases import (
    ALIASES,
    WISHES,
    Found,
    declared_tags,
    keeping,
    meant,
    refusal,
    true_aliases,
)
from serving.rollout.keeper import Keeper
from serving.rollout.moves import OPEN
from serving.rollout.registry import OURS_TAG, Registry
from tidemill.errors import Retry
from tidemill.events import Arm, JobState, RolloutState, Route
from tidemill.events.lifecycle import JobPhase, RolloutPhase
from tidemill.ids import derived_id
from tidemill.io.mlflow import DECLARED_TAG, Mlflow
from tidemill.settings import Settings

PHASES: tuple[RolloutPhase, ...] = get_args(RolloutPhase)
NUMBERS = ("1", "2", "3")


def route(champion: int = 1) -> Route:
    arm = Arm(variant="champion", model_version=f"s-v{champion}", model=f"s-v{champion}", engine="local", weight=100)
    return Route(pipeline="s", epoch=1, time_ms=0, arms=(arm,))


def rollout(phase: RolloutPhase, candidate: int = 2, champion: int = 1, **changes: Any) -> RolloutState:
    return RolloutState(
        **{
            **{"rollout_id": f"r{candidate}", "seq": 1, "time_ms": 9, "pipeline": "s", "phase": phase, "reason": "x"},
            **{"candidate_version": f"s-v{candidate}", "candidate_adapter_dir": "", "registered_name": "s"},
            **{"champion_version": f"s-v{champion}", "step_started_ms": 0, "created_ms": candidate},
            **changes,
        }
    )


def job(number: int, phase: JobPhase = "registered") -> JobState:
    return JobState(
        job_id=f"j{number}",
        seq=1,
        time_ms=number,
        pipeline="s",
        phase=phase,
        reason="",
        alarm_id="a",
        created_ms=1,
        candidate_version=f"s-v{number}",
    )


def served(phase: RolloutPhase) -> Route:
    return route(2 if phase in ("promoting", "champion") else 1)


EXPECTED: Mapping[str, Mapping[str, str]] = {
    "pending": {"champion": "1", "candidate": "2"},
    "shadow": {"champion": "1", "candidate": "2", "shadow": "2"},
    "canary": {"champion": "1", "candidate": "2", "canary": "2"},
    "promoting": {"champion": "2", "previous": "1"},
    "champion": {"champion": "2", "previous": "1"},
    "rolled_back": {"champion": "1"},
    "failed": {"champion": "1"},
}


@pytest.mark.parametrize("phase", PHASES)
def test_what_is_true_in_each_phase(phase: RolloutPhase) -> None:
    if phase in EXPECTED:  # one that nothing writes has the champion alone
        assert true_aliases(served(phase), [rollout(phase)], [], NUMBERS) == EXPECTED[phase]
    assert true_aliases(served(phase), [rollout(phase)], [], []) == {}, "of registered versions alone"


def test_a_registered_version_is_candidate_until_its_rollout_begins() -> None:
    waiting = [job(2), job(3), job(9, "rejected")]
    assert true_aliases(route(), [], waiting, NUMBERS)["candidate"] == "3"
    begun = rollout("rolled_back", 3, rollout_id=derived_id("rollout", "j3"))
    assert true_aliases(route(), [begun], waiting, NUMBERS)["candidate"] == "2"


@pytest.mark.parametrize("phase", PHASES)
def test_declared_versions_stand_in_tags_where_no_alias_can(phase: RolloutPhase) -> None:
    meaning = meant(served(phase), [rollout(phase)], [])
    assert set(meaning) == set(EXPECTED.get(phase, {"champion": ""}))
    aliases = true_aliases(served(phase), [rollout(phase)], [], ["1"])
    tags = declared_tags(meaning, {"s-v2": "model int8 on the engine green"})
    places = {key.removeprefix(DECLARED_TAG) for key in tags if not key.endswith(".is")}
    assert places.isdisjoint(aliases) and places | set(aliases) == set(meaning), "each alias is somewhere, and once"
    assert {tags[f"{DECLARED_TAG}{each}"] for each in places} <= {"s-v2"}
    assert {tags[f"{DECLARED_TAG}{each}.is"] for each in places} <= {"model int8 on the engine green"}


def test_an_earlier_champion_that_took_over_again_has_the_last_one_before_it() -> None:
    history = [rollout("champion"), rollout("champion", 3, 2), rollout("champion", 2, 3, rollout_id="z", created_ms=9)]
    assert true_aliases(route(2), history, [], NUMBERS) == {"champion": "2", "previous": "3"}


@pytest.mark.parametrize(("alias", "phase", "seen"), list(itertools.product(ALIASES, PHASES, (None, *NUMBERS, "7"))))
def test_every_alias_in_every_state(alias: str, phase: RolloutPhase, seen: str | None) -> None:
    truth = true_aliases(served(phase), [rollout(phase)], [], NUMBERS)
    aliases = {**truth, alias: seen} if seen is not None else {a: n for a, n in truth.items() if a != alias}
    ours = {each: [number] for each, number in truth.items()}
    todo = keeping(Found(aliases=aliases, ours=ours), truth)
    moved = seen != truth.get(alias)
    assert todo.put == ({alias: truth.get(alias)} if moved else {}), "never left where it was moved to"
    wished = moved and seen is not None and alias in WISHES
    assert (todo.wish, todo.by) == ((seen, alias) if wished else ("", ""))
    if wished:
        said = refusal(f"s-v{seen}", served(phase), [rollout(phase)], [])
        serving = served(phase).champion.model_version
        assert bool(said) == (f"s-v{seen}" == serving or phase in OPEN), "one rollout at a time, none of what serves"


@pytest.mark.parametrize(("phase", "before"), list(itertools.product(PHASES, PHASES)))
def test_aliases_that_only_lag_are_nobodys_wish(phase: RolloutPhase, before: RolloutPhase) -> None:
    was = true_aliases(served(before), [rollout(before)], [], NUMBERS)
    truth = true_aliases(served(phase), [rollout(phase)], [], NUMBERS)
    todo = keeping(Found(aliases=was, ours={each: [number] for each, number in was.items()}), truth)
    assert todo.wish == "" and {a: n for a, n in {**was, **todo.put}.items() if n} == truth


def test_the_first_look_puts_right_and_sees_no_wish() -> None:
    todo = keeping(Found(aliases={"champion": "3"}, ours=None), {"champion": "1"})
    assert (todo.put, todo.wish) == ({"champion": "1"}, "")


def test_a_version_that_is_being_registered_is_left_alone() -> None:
    todo = keeping(Found(aliases={"champion": "1", "candidate": "3"}, ours={"champion": ["1"]}), {"champion": "1"}, "3")
    assert (todo.put, todo.wish) == ({}, "")


def test_of_several_moved_ones_the_weightiest_counts() -> None:
    found = Found(aliases={"champion": "2", "candidate": "3"}, ours={"champion": ["1"]})
    todo = keeping(found, {"champion": "1"})
    assert (todo.wish, todo.by, todo.put) == ("2", "champion", {"champion": "1", "candidate": None})


def test_what_waits_for_its_rollout_needs_no_order() -> None:
    assert refusal("s-v3", route(), [], [job(3)]) == "its rollout begins by itself"
    assert refusal("s-v2", route(), [], [job(3)]) == ""


class Fake(Mlflow):
    """A registry in memory. ``dies_after``: it is away after so many writes."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {"champion": "1"}
        self.tags: dict[str, str] = {}
        self.of_versions: dict[str, dict[str, str]] = {number: {} for number in NUMBERS}
        self.there = True
        self.dies_after = 1_000_000

    def versions(self, name: str) -> dict[str, dict[str, str]]:
        return self.of_versions

    def model(self, name: str) -> tuple[dict[str, str], dict[str, str]] | None:
        return (dict(self.aliases), dict(self.tags)) if self.there else None

    def make_model(self, name: str) -> None:
        self._written()
        assert not self.there
        self.there = True

    def alias(self, name: str, alias: str, version: str) -> None:
        self._written()
        self.aliases[alias] = version

    def drop_alias(self, name: str, alias: str) -> None:
        self._written()
        self.aliases.pop(alias, None)

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        self._written()
        self.of_versions.get(version, {})[key] = value  # MLflow answers 404 where there is no such version

    def tag_model(self, name: str, key: str, value: str) -> None:
        self._written()
        assert self.there
        self.tags[key] = value

    def drop_model_tag(self, name: str, key: str) -> None:
        self._written()
        self.tags.pop(key, None)

    def close(self) -> None:
        pass

    def _written(self) -> None:
        if self.dies_after <= 0:
            raise Retry("MLflow does not answer")
        self.dies_after -= 1


class Clock:
    def now_ms(self) -> int:
        return 1_000

    def monotonic_s(self) -> float:
        return 1.0


def keeper(
    tmp_path: Path,
    fake: Fake,
    states: Collection[RolloutState] = (),
    champion: int = 1,
    declared: Mapping[str, object] | None = None,
) -> Keeper:
    """A keeper as after a restart: it remembers nothing. ``declared``: versions of the settings, by name."""
    settings = Settings.model_validate(
        {
            "data_dir": str(tmp_path),
            "engines": {"local": {}, "green": {"url": "http://green:8000/v1", "base_model": "int8"}},
            "pipelines": {"s": {"engine": "local", "champion": "s-v1", "versions": declared or {}}},
            "mlflow": {"aliases_s": 0.2},
        }
    )
    registry = Registry("http://nowhere")
    registry._mlflow = fake
    made = Keeper(settings, registry, Clock())
    made.see({"s": route(champion)}, {state.rollout_id: state for state in states}, {})
    return made


def ordered(tmp_path: Path) -> list[str]:
    return sorted(file.read_text() for file in (tmp_path / "orders" / "rollout").glob("*.json"))


def test_a_moved_champion_is_ordered_once_and_put_back_until_it_is_true(tmp_path: Path) -> None:
    fake = Fake()
    keeper(tmp_path, fake).keep()
    assert ordered(tmp_path) == [] and fake.tags[OURS_TAG] == '{"champion":["1"]}'
    fake.aliases["champion"] = "2"
    keeper(tmp_path, fake).keep()
    (order,) = [order for _, order in orders.waiting(keeper(tmp_path, fake)._settings)]
    assert order is not None and (order.act, order.version, order.rollout_id) == ("start", "s-v2", "")
    assert order.by == "MLflow's alias champion" and not order.at_once
    assert fake.aliases == {"champion": "1"} and "its rollout is ordered" in fake.of_versions["2"]["tidemill.order"]
    keeper(tmp_path, fake).keep()
    assert len(ordered(tmp_path)) == 1
    keeper(tmp_path, fake, [rollout("canary")]).keep()
    assert fake.aliases == EXPECTED["canary"]
    assert fake.of_versions["2"]["tidemill.rollout"] == "canary"
    keeper(tmp_path, fake, [rollout("champion")], champion=2).keep()
    assert fake.aliases == EXPECTED["champion"] and len(ordered(tmp_path)) == 1


def test_a_second_wish_is_a_second_order_and_one_beside_a_rollout_is_refused(tmp_path: Path) -> None:
    fake = Fake()
    keeper(tmp_path, fake).keep()
    fake.aliases["candidate"] = "2"
    keeper(tmp_path, fake).keep()
    back = [rollout("rolled_back")]
    keeper(tmp_path, fake, back).keep()
    fake.aliases["candidate"] = "2"
    keeper(tmp_path, fake, back).keep()
    assert len(ordered(tmp_path)) == 2
    fake.aliases["champion"] = "3"
    keeper(tmp_path, fake, [rollout("shadow")]).keep()
    assert len(ordered(tmp_path)) == 2 and fake.aliases == EXPECTED["shadow"]
    assert "the rollout of s-v2 is under way" in fake.of_versions["3"]["tidemill.order"]


@pytest.mark.parametrize("writes", range(8))
def test_cut_off_anywhere_it_goes_on_without_a_second_order_or_a_wish_of_its_own(tmp_path: Path, writes: int) -> None:
    fake = Fake()
    keeper(tmp_path, fake).keep()
    fake.aliases["champion"] = "2"
    for states in ([], [rollout("canary")]):
        fake.dies_after = writes
        try:
            keeper(tmp_path, fake, states).keep()
        except Retry:
            pass
        fake.dies_after = 1_000_000
        keeper(tmp_path, fake, states).keep()
    assert len(ordered(tmp_path)) == 1
    keeper(tmp_path, fake, [rollout("rolled_back")]).keep()
    assert fake.aliases == {"champion": "1"} and len(ordered(tmp_path)) == 1


@pytest.mark.parametrize("writes", range(7))
def test_a_promotion_cut_off_anywhere_is_nobodys_wish(tmp_path: Path, writes: int) -> None:
    fake = Fake()
    keeper(tmp_path, fake, [rollout("canary")]).keep()
    registry = Registry("http://nowhere")
    registry._mlflow = fake
    fake.dies_after = writes
    try:
        registry.promote(rollout("promoting"))
    except Retry:
        pass
    fake.dies_after = 1_000_000
    keeper(tmp_path, fake, [rollout("rolled_back")]).keep()
    assert fake.aliases == {"champion": "1"} and ordered(tmp_path) == []


def test_a_registry_that_is_away_is_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    fake = Fake()
    fake.dies_after = 0
    fake.aliases = {"champion": "2"}
    ending = threading.Event()
    watching = threading.Thread(target=keeper(tmp_path, fake).watch, args=(ending,))
    watching.start()
    while "does not answer" not in caplog.text:
        assert watching.is_alive()
        ending.wait(0.01)
    fake.dies_after = 1_000_000
    while fake.aliases != {"champion": "1"}:
        assert watching.is_alive()
        ending.wait(0.01)
    ending.set()
    watching.join(timeout=30)
    assert not watching.is_alive() and ordered(tmp_path) == [], "the first look sees no wish"


GREEN = {"s-v1001": {"kind": "model", "engine": "green"}}
WHAT = "model int8 on the engine green"


def told(fake: Fake) -> dict[str, str]:
    """What the registered model's tags say of declared versions, by the end of their names."""
    return {k.removeprefix(DECLARED_TAG): v for k, v in fake.tags.items() if k.startswith(DECLARED_TAG)}


def test_a_declared_version_is_told_in_tags_for_as_long_as_it_stands_there(tmp_path: Path) -> None:
    fake = Fake()
    keeper(tmp_path, fake, [rollout("canary", 1001)], declared=GREEN).keep()
    assert fake.aliases == {"champion": "1"}
    places = {"canary": "s-v1001", "candidate": "s-v1001"}
    assert told(fake) == places | {"canary.is": WHAT, "candidate.is": WHAT}
    keeper(tmp_path, fake, [rollout("champion", 1001)], 1001, declared=GREEN).keep()
    assert told(fake) == {"champion": "s-v1001", "champion.is": WHAT}
    assert fake.aliases == {"previous": "1"} and ordered(tmp_path) == []
    back = [rollout("champion", 1001), rollout("champion", 2, 1001, created_ms=2_000)]
    keeper(tmp_path, fake, back, 2, declared=GREEN).keep()
    assert told(fake) == {"previous": "s-v1001", "previous.is": WHAT} and fake.aliases == {"champion": "2"}
    keeper(tmp_path, fake, back).keep()
    assert told(fake) == {}, "the settings declare it no more"


def test_a_registry_without_the_model_gets_one_to_say_it_in(tmp_path: Path) -> None:
    fake = Fake()
    fake.there, fake.aliases, fake.of_versions = False, {}, {}
    keeper(tmp_path, fake, [rollout("champion", 2)], 2).keep()
    assert not fake.there, "nothing is declared"
    keeper(tmp_path, fake, [rollout("champion", 1001)], 1001, declared=GREEN).keep()
    assert told(fake) == {"champion": "s-v1001", "champion.is": WHAT} and fake.aliases == {}


@pytest.mark.parametrize("writes", range(7))
def test_tags_cut_off_anywhere_are_made_good_and_are_nobodys_wish(tmp_path: Path, writes: int) -> None:
    fake = Fake()
    keeper(tmp_path, fake, [rollout("canary", 1001)], declared=GREEN).keep()
    fake.dies_after = writes
    try:
        keeper(tmp_path, fake, [rollout("champion", 1001)], 1001, declared=GREEN).keep()
    except Retry:
        pass
    fake.dies_after = 1_000_000
    keeper(tmp_path, fake, [rollout("champion", 1001)], 1001, declared=GREEN).keep()
    assert told(fake) == {"champion": "s-v1001", "champion.is": WHAT}
    assert fake.aliases == {"previous": "1"} and ordered(tmp_path) == []


class Looks:
    """Ends the keeper's watch after so many looks; ``seen`` is its trouble before each."""

    def __init__(self, kept: Keeper, most: int) -> None:
        self.kept, self.most = kept, most
        self.seen: list[str] = []

    def wait(self, _: float) -> bool:
        self.seen.append(self.kept.trouble)
        return len(self.seen) > self.most


def test_an_answer_of_another_shape_ends_no_keeper_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = Fake()
    kept = keeper(tmp_path, fake)
    answers = [[{"version": 1}], None]
    plainly = fake.model

    def model(name: str) -> tuple[dict[str, str], dict[str, str]] | None:
        return plainly(name) if not answers else cast(Any, answers.pop())["aliases"]

    monkeypatch.setattr(fake, "model", model)
    looks = Looks(kept, 3)
    kept.watch(cast(Any, looks))
    assert [bool(trouble) for trouble in looks.seen] == [False, True, True, False]
    assert "aliases cannot be kept: TypeError" in looks.seen[1]


@pytest.mark.parametrize("answer", ["[]", "null", '"ok"', "7", "<html>"])
def test_what_is_no_json_object_is_no_answer_of_mlflows(answer: str) -> None:
    registry = Mlflow("http://nowhere")
    transport = httpx.MockTransport(lambda _: httpx.Response(200, text=answer))
    registry._http = httpx.Client(transport=transport, base_url="http://nowhere")
    with pytest.raises(Retry, match="gave no JSON"):
        registry.model("talk")
