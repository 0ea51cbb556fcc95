"""A model that changes silently is found, one that merely varies is not; nothing that was said is kept."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from streams.host import probe
from streams.host.asking import Asking
from streams.host.probe import Fingerprint, ProbeState, Round, take
from tests.integration.fake_engine import FakeEngine
from tidemill.clock import ManualClock
from tidemill.errors import Stop
from tidemill.settings import Settings
from tidemill.settings.host import ProbeSettings
from tidemill.settings.model import EngineSettings

NOW_MS = 1_763_800_000_000
PROMPTS = ("one", "two", "three", "four", "five", "six", "seven", "eight")
SETTINGS = ProbeSettings(every_s=60, prompts=PROMPTS, learn_rounds=10, run_length=1_000)


def rounds(state: ProbeState, answers: Sequence[Sequence[str]], who: str = "m-1") -> list[ProbeState]:
    states = []
    for number, said in enumerate(answers):
        seen = Round(NOW_MS + number, tuple(Fingerprint(each, len(each)) for each in said), frozenset({who}))
        state = take(state, seen, SETTINGS)
        states.append(state)
    return states


def varying(rng: random.Random, count: int, agreement: float) -> list[list[str]]:
    """Rounds in which each answer is the usual one with this probability, else one of its own."""
    return [[name if rng.random() < agreement else f"{name} {rng.random()}" for name in PROMPTS] for _ in range(count)]


def test_the_reference_is_the_most_frequent_answer_and_the_bound_lies_below_the_usual_agreement() -> None:
    answers = varying(random.Random(1), 10, 0.9)
    learned = rounds(ProbeState("x"), answers)[-1]
    assert [each.answer for each in learned.reference] == list(PROMPTS)
    assert 0.7 < learned.usual <= 1 and 0.5 < learned.bound < learned.usual
    assert probe.lower_bound(40, 40) == pytest.approx(0.01 ** (1 / 40))
    assert probe.lower_bound(0, 40) == 0


def test_a_change_of_all_answers_is_an_alarm_within_a_few_rounds_and_over_when_they_are_learned() -> None:
    learned = rounds(ProbeState("x"), [PROMPTS] * 10)[-1]
    other = [f"other {name}" for name in PROMPTS]
    states = rounds(learned, [PROMPTS] * 5 + [other] * 30)
    fired = next(number for number, state in enumerate(states) if state.changed is not None)
    assert 5 <= fired <= 9
    (trouble,) = probe.troubles("openai", states[fired], NOW_MS)
    assert (trouble.value, trouble.reference) == (0, 1) and trouble.threshold == pytest.approx(0.891, abs=0.001)
    assert trouble.since_ms == NOW_MS + 5, "the first round that was otherwise"
    assert "0% of the probes' answers equal the reference's, usually 100%" in trouble.summary
    ended = next(number for number in range(fired, 35) if states[number].changed is None)
    assert ended == fired + 10, "learned anew"
    assert states[-1].changed is None and states[-1].reference[0].answer == "other one"


def test_a_change_of_some_answers_is_found_too() -> None:
    rng = random.Random(2)
    learned = rounds(ProbeState("x"), varying(rng, 10, 0.9))[-1]
    assert any(state.changed for state in rounds(learned, varying(rng, 40, 0.45)))


def test_false_alarms_keep_to_the_promise() -> None:
    """At most one in 1,000 rounds on average where the bound holds, and it does in 99 of 100 learnings."""
    alarms = 0
    for seed in range(40):
        rng = random.Random(seed)
        state = rounds(ProbeState("x"), varying(rng, 10, 0.85))[-1]
        alarms += sum(after.changed is not None for after in rounds(state, varying(rng, 250, 0.85))[-250:])
    assert alarms / 10 <= 1, "in 10,000 rounds; an alarm lasts ten of them"


def test_answers_that_never_agree_have_no_detector() -> None:
    learned = rounds(ProbeState("x"), varying(random.Random(3), 10, 0.0))[-1]
    assert learned.bound < probe.LEAST_BOUND
    last = rounds(learned, [PROMPTS] * 20)[-1]
    assert last.changed is None and last.share is not None


def test_another_name_is_told_once_and_known_from_then_on() -> None:
    learned = rounds(ProbeState("x"), [PROMPTS] * 10)[-1]
    assert probe.troubles("openai", learned, NOW_MS) == []
    first, second = rounds(learned, [PROMPTS] * 2, who="m-2 (fp_b)")
    (trouble,) = probe.troubles("openai", first, NOW_MS)
    assert trouble.rule == probe.PROBE_IDENTITY and trouble.severity == "ticket"
    assert trouble.summary == "openai: answers come from m-2 (fp_b); before: m-1"
    assert probe.troubles("openai", second, NOW_MS) == []
    assert probe.troubles("openai", rounds(second, [PROMPTS])[-1], NOW_MS) == [], "nor is the old one news"


@pytest.mark.parametrize("body", [{}, {"choices": []}, {"choices": [{"message": None}]}, {"error": {"message": "no"}}])
def test_what_is_no_chat_completion_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no chat completion"):
        probe.fingerprint(body)


@pytest.fixture
def engine() -> Iterator[FakeEngine]:
    made = FakeEngine({"gpt-large"})
    made.signature = {"system_fingerprint": "fp_a"}
    yield made
    made.close()


def asking(tmp_path: Path, engine: FakeEngine, clock: ManualClock, **fields: object) -> Asking:
    settings = ProbeSettings(every_s=60, prompts=("Tell me a secret.", "And another."), learn_rounds=4, run_length=100)
    provider = EngineSettings(kind="provider", url=engine.url, base_model="gpt-large", probe=settings)
    made = provider.model_copy(update=fields)
    return Asking(Settings(data_dir=tmp_path, engines={"openai": made}), "openai", clock)


def whole_round(asks: Asking, clock: ManualClock) -> None:
    clock.advance(60_000)
    assert [asks.tick() for _ in range(2)] == [False, True]
    assert asks.tick() is False, "the next round is not due"
    asks.keep()


def test_a_provider_that_changes_its_model_is_found_over_http(tmp_path: Path, engine: FakeEngine) -> None:
    clock = ManualClock(NOW_MS)
    asks = asking(tmp_path, engine, clock)
    for _ in range(6):
        whole_round(asks, clock)
    assert asks.state.reference and asks.state.share == 1 and probe.troubles("openai", asks.state, NOW_MS) == []
    assert engine.bodies[-1]["temperature"] == 0 and engine.bodies[-1]["model"] == "gpt-large"
    asks = asking(tmp_path, engine, clock)  # started again: it goes on where it was
    assert asks.state.share == 1
    engine.voice = str.upper
    engine.signature = {"system_fingerprint": "fp_b"}
    whole_round(asks, clock)
    (told,) = [each.summary for each in probe.troubles("openai", asks.state, NOW_MS) if each.rule == "probe_identity"]
    assert told == "openai: answers come from gpt-large (fp_b); before: gpt-large (fp_a)"
    for _ in range(20):
        if asks.state.changed is not None:
            break
        whole_round(asks, clock)
    assert [each.rule for each in probe.troubles("openai", asks.state, NOW_MS)] == ["probe"]
    kept = (tmp_path / "host" / "probe-openai.json").read_text()
    assert "secret" not in kept.lower() and "fp_b" in kept


def test_an_engine_that_fails_gives_no_round_and_is_asked_again_in_time(tmp_path: Path, engine: FakeEngine) -> None:
    clock = ManualClock(NOW_MS)
    asks = asking(tmp_path, engine, clock, base_model="gone")
    assert asks.tick() is False and len(engine.bodies) == 1
    assert asks.tick() is False and len(engine.bodies) == 1, "not before its time"
    clock.advance(60_000)
    assert asks.tick() is False and len(engine.bodies) == 2
    assert asks.state == ProbeState(asks.state.asked)


def test_other_questions_begin_anew(tmp_path: Path, engine: FakeEngine) -> None:
    clock = ManualClock(NOW_MS)
    asks = asking(tmp_path, engine, clock)
    whole_round(asks, clock)
    assert asks.state.learning
    other = asking(tmp_path, engine, clock, probe=ProbeSettings(every_s=60, prompts=("Something else.",)))
    assert not other.state.learning


def test_a_missing_key_names_the_setting(tmp_path: Path, engine: FakeEngine) -> None:
    with pytest.raises(Stop, match=r"engines\.openai\.api_key_env names TIDEMILL_NO_SUCH_KEY"):
        asking(tmp_path, engine, ManualClock(1), api_key_env="TIDEMILL_NO_SUCH_KEY")
