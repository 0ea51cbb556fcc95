"""Service levels: no flapping within the band, silence by mode, burn rates against counting anew, restarts."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from streams.budgets import Spend
from streams.levels import Levels
from streams.objectives import PAIRS, Counts, ObjectiveState
from streams.rules import RuleState
from streams.windows.figures import Figure
from tests.unit.streams.drawing import START_MS
from tidemill.settings import ObjectiveSettings, PipelineSettings, RuleSettings

WINDOW_MS = 10_000
ENTER, LEAVE = 0.2, 0.05


def share(value: float | None, n: int = 50) -> Figure | None:
    return None if value is None else Figure(n, value * n, 0.0, value)


def rule(**fields: object) -> RuleSettings:
    given_ = {"name": "errors", "metric": "error_rate", "above": ENTER, "leave": LEAVE, "min_count": 1} | fields
    return RuleSettings.model_validate(given_)


def judged(settings: RuleSettings, values: Sequence[float | None], state: RuleState | None = None) -> list[str]:
    """``firing``, ``resolved`` or nothing, after each window."""
    state = RuleState(metric="error_rate") if state is None else state
    said: list[str] = []
    for index, value in enumerate(values):
        start_ms = START_MS + index * WINDOW_MS
        found = state.judge("p", settings, share(value), start_ms, start_ms + WINDOW_MS)
        said.append(found.state if found else "")
    return said


band = st.floats(LEAVE, ENTER, exclude_min=True)
"""At ``leave`` itself a firing rule is past it; at ``above`` itself there is no breach yet."""
values = st.lists(st.one_of(st.none(), st.floats(0, 1)), max_size=60)
modes = st.sampled_from(["keep", "ok", "alert"])


@given(values, st.lists(band.filter(lambda v: v > LEAVE), min_size=1, max_size=40), st.integers(1, 4), modes)
def test_within_the_band_nothing_begins_or_ends(
    before: list[float | None], inside: list[float], windows: int, mode: str
) -> None:
    settings = rule(for_windows=windows, no_data=mode)
    state = RuleState(metric="error_rate")
    judged(settings, before, state)
    assert judged(settings, inside, state) == [""] * len(inside)


@given(values, st.integers(1, 4), st.one_of(st.none(), st.integers(1, 6)), modes)
def test_an_alarm_begins_and_ends_after_so_many_windows_in_a_row(
    told: list[float | None], windows: int, keep: int | None, mode: str
) -> None:
    """Against the definition, looked up window by window in the whole past."""
    settings = rule(for_windows=windows, keep_firing_windows=keep, no_data=mode)
    heard = [value for value in told if value is not None or mode != "keep"]

    def breaches(value: float | None, limit: float) -> bool:
        return mode == "alert" if value is None else value > limit

    fires, changed = False, 0
    for index, said in enumerate(judged(settings, heard)):
        lately = heard[changed : index + 1]
        if fires:
            needed = keep or windows
            due = len(lately) >= needed and not any(breaches(value, LEAVE) for value in lately[-needed:])
        else:
            due = len(lately) >= windows and all(breaches(value, ENTER) for value in lately[-windows:])
        assert said == (("resolved" if fires else "firing") if due else "")
        if due:
            fires, changed = not fires, index + 1


@given(values, st.integers(1, 3))
def test_silence_alone_changes_nothing_by_default(told: list[float | None], windows: int) -> None:
    settings = rule(for_windows=windows)
    heard = [value for value in told if value is not None]
    assert [each for each, value in zip(judged(settings, told), told, strict=True) if value is not None] == judged(
        settings, heard
    )


@given(st.lists(st.one_of(st.none(), st.floats(0, ENTER)), max_size=60), st.sampled_from(["keep", "ok"]))
def test_silence_is_no_breach_unless_it_was_set(told: list[float | None], mode: str) -> None:
    assert not any(judged(rule(for_windows=1, no_data=mode), told))


OBJECTIVE = ObjectiveSettings(name="available", metric="error_rate", target=0.95, min_count=20, window_days=7)


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[int, Counts]]:
    """Windows by their end: busy, silent, good and bad stretches of minutes, hours and days."""
    at_ms, found = START_MS - START_MS % 86_400_000, []
    for _ in range(draw(st.integers(1, 12))):
        step_ms = draw(st.sampled_from([10_000, 60_000, 600_000, 3_600_000]))
        n = draw(st.integers(0, 50))
        bad = draw(st.integers(0, n))
        for _ in range(draw(st.integers(1, 40))):
            at_ms += step_ms
            found.append((at_ms, Counts(n, bad)))
    return found


@given(histories())
def test_burn_rates_are_what_counting_anew_gives(history: list[tuple[int, Counts]]) -> None:
    state, before = ObjectiveState(), START_MS - START_MS % 86_400_000
    for index, (end_ms, counts) in enumerate(history):
        list(state.judge("p", OBJECTIVE, counts, before, end_ms))
        before = end_ms
        for span in {span for pair in PAIRS for span in (pair.long, pair.short)}:
            step_ms = span.step_s * 1000
            newest = (end_ms - 1) // step_ms
            inside = [c for at_ms, c in history[: index + 1] if newest - (at_ms - 1) // step_ms < span.buckets]
            assert state.counts(span, end_ms) == (sum(c.n for c in inside), sum(c.bad for c in inside))


@given(histories())
def test_an_alarm_begins_just_where_both_windows_burn(history: list[tuple[int, Counts]]) -> None:
    state, before, since, fires = ObjectiveState(), START_MS - START_MS % 86_400_000, 0, set[str]()
    for index, (end_ms, counts) in enumerate(history):
        hour = (end_ms - 1) // 3_600_000
        since = since if any(c.n and hour - (at_ms - 1) // 3_600_000 < 72 for at_ms, c in history[:index]) else before
        told = list(state.judge("p", OBJECTIVE, counts, before, end_ms))
        said = [(transition.state, pair.severity) for transition, pair in told]
        for alarm in (transition.alarm for transition, _ in told if transition.state == "firing"):
            assert alarm.change_time_ms is not None and alarm.change_from_ms is not None
            assert alarm.change_until_ms is not None
            assert alarm.change_from_ms < alarm.change_time_ms < alarm.change_until_ms <= end_ms
        burning = set()
        for pair in PAIRS:
            rates = []
            for span, least in ((pair.long, OBJECTIVE.min_count), (pair.short, 1)):
                newest = (end_ms - 1) // (span.step_s * 1000)
                inside = [
                    c
                    for at_ms, c in history[: index + 1]
                    if newest - (at_ms - 1) // (span.step_s * 1000) < span.buckets
                ]
                n, bad = sum(c.n for c in inside), sum(c.bad for c in inside)
                rates.append(bad / n / (1 - OBJECTIVE.target) if n >= least else 0.0)
            if min(rates) > pair.factor and end_ms - since >= pair.short.length_ms:
                burning.add(pair.severity)
        assert {severity for what, severity in said if what == "firing"} == burning - fires
        ended = {severity for what, severity in said if what == "resolved"}
        assert not ended & burning
        fires = (fires | burning) - ended
        assert set(state.firing) == fires
        before = end_ms


LEVELS = PipelineSettings.model_validate(
    {
        "engine": "e",
        "champion": "p-v1",
        "rules": [rule(for_windows=2, no_data="alert", keep_firing_windows=3).model_dump()],
        "objectives": [OBJECTIVE.model_dump()],
        "budgets": [{"name": "day", "max_usd_per_day": 5}],
    }
)


class States(msgspec.Struct, array_like=True):
    rules: dict[str, RuleState] = msgspec.field(default_factory=dict)
    objectives: dict[str, ObjectiveState] = msgspec.field(default_factory=dict)
    spend: Spend = msgspec.field(default_factory=Spend)


@given(histories(), st.data())
def test_a_restart_goes_on_as_if_there_had_been_none(history: list[tuple[int, Counts]], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(history)))
    begin = START_MS - START_MS % 86_400_000

    def play(states: States, part: list[tuple[int, Counts]], before: int) -> list[str]:
        levels, said = Levels("p", LEVELS, states.rules, states.objectives, states.spend), []
        for end_ms, (n, bad) in part:
            known = {"error_rate": Figure(n, float(bad), float(bad), bad / n)} if n else {}
            states.spend.add([(before, n * 10_000)], before)
            said += [repr(each) for each in levels.judge(known, before, end_ms)]
            said += [repr(each) for each in levels.pass_time(end_ms)]
            before = end_ms
        return said

    once = play(States(), history, begin)
    states = States()
    first = play(states, history[:at], begin)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(states), type=States)
    assert again == states
    assert first + play(again, history[at:], history[at - 1][0] if at else begin) == once
