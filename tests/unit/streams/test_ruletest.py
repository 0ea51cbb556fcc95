"""Test files of service levels: their notation, what is wrong with them, and that they say what the stream says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streams.ruletest.files import RuleTest, load
from streams.ruletest.run import Result, run
from streams.ruletest.series import expand, seconds
from tests.unit.streams.drawing import START_MS, Meter, Reader, answers, deployment, requests
from tidemill.errors import SettingsError
from tidemill.events import ThresholdEvent
from tidemill.settings import Settings

SETTINGS = """\
settings:
  engines: {e: {}}
  windows: {size_s: 10}
  pipelines:
    p:
      engine: e
      champion: p-v1
      rules: [{name: errors, metric: error_rate, above: 0.2, for_windows: 2}]
      objectives: [{name: answered, metric: error_rate, target: 0.99}]
      budgets: [{name: day, max_usd_per_day: 1}]
tests:
  - name: a
    pipeline: p
"""
SERIES = "    series: {error_rate: 0.1x2 0.5x2}\n"
ALARMS = "    alarms: [{at: 50s, firing: [errors]}]\n"


def written(folder: Path, text: str) -> Path:
    file = folder / "t.test.yaml"
    file.write_text(text)
    return file


def nowhere() -> Settings:
    raise AssertionError("the file names its settings")


def results(folder: Path, text: str) -> list[Result]:
    settings, tests = load(written(folder, text), nowhere)
    return [run(test, settings) for test in tests]


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1", [1]),
        ("0.3x2", [0.3] * 3),
        ("7x0", [7]),
        ("-5+10x2", [-5, 5, 15]),
        ("10-3x4", [10, 7, 4, 1, -2]),
        ("4 _x2 6x1", [4, None, None, 6, 6]),
        ("_ 0.5", [None, 0.5]),
        ("1e3+1e-1x1", [1000, 1000.1]),
    ],
)
def test_series_are_written_as_promtool_has_them(text: str, values: list[float | None]) -> None:
    assert expand(text) == values


@pytest.mark.parametrize("text", ["", "1y", "1x", "x3", "1+x3", "stale", "1x99999999", "_x99999999", "1x999999 1"])
def test_what_is_no_series_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|windows"):
        expand(text)


def test_times() -> None:
    assert [seconds(text) for text in ("40s", "5m", "1h30m", "2d1s", "0s")] == [40, 300, 5400, 172_801, 0]
    for text in ("", "5", "5 m", "m", "1m1h"):
        with pytest.raises(ValueError, match="write 40s"):
            seconds(text)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (SERIES, 12, "tests.0.alarms: this setting is required"),
        (SERIES + "    alarms: []\n", 15, "tests.0.alarms: must not be empty; give 1 or more"),
        (SERIES + ALARMS.replace("[errors]", "[eror]"), 15, "no level of p raises 'eror'; did you mean 'errors'?"),
        (SERIES + ALARMS.replace("50s", "70s"), 15, "alarms.0.at: 70 s is after the last window (6 of 10 s); give lo"),
        (SERIES + ALARMS.replace("50s", "5"), 15, "alarms.0.at: a time needs its unit; write 40s"),
        (
            SERIES + ALARMS.replace("50s", "5x"),
            15,
            "test's start; write 40s, 5m, 1h30m or 2d (got '5x')",
        ),
        (SERIES.replace("0.5x2", "y") + ALARMS, 14, "series.error_rate: 'y' is no part of a series; write 0.2"),
        (SERIES.replace("error_rate", "eror_rate") + ALARMS, 14, "no window metric; did you mean 'error_rate'?"),
        (
            SERIES.replace("0.5x2", "0.005x2") + ALARMS,
            14,
            "0.005 in window 3 is 0.5 bad answers; set counts.error_rate",
        ),
        (SERIES.replace("0.5x2", "50x2") + ALARMS, 14, "error_rate lies between 0 and 1; write 20 % as 0.2 (got 50)"),
        (SERIES + "    counts: {error_rate: 0.5}\n" + ALARMS, 15, "give whole numbers from 0 to 1,000,000,000"),
        (SERIES + "    start: 2026-01-01T00:00:03Z\n" + ALARMS, 15, "begins no window of 10 s; choose a round time"),
        (SERIES + "    serie: 1\n" + ALARMS, 15, "there is no such setting; did you mean 'series'?"),
    ],
)
def test_a_wrong_test_is_named_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, SETTINGS + text), nowhere)
    assert words in str(caught.value)
    assert f"t.test.yaml:{line}: tests.0" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1, "nothing that only follows from it"


def test_wrong_settings_within_the_file_are_named_with_their_line(tmp_path: Path) -> None:
    text = SETTINGS.replace("metric: error_rate, above", "metric: eror_rate, above") + SERIES + ALARMS
    with pytest.raises(SettingsError, match=r"t\.test\.yaml:8: pipelines\.p\.rules\.0\.metric: 'eror_rate' is"):
        load(written(tmp_path, text), nowhere)
    with pytest.raises(
        SettingsError, match=r"t\.test\.yaml:13: tests\.0\.pipeline: there is no pipeline 'q' .*; there are p$"
    ):
        load(written(tmp_path, (SETTINGS + SERIES + ALARMS).replace("pipeline: p\n", "pipeline: q\n")), nowhere)


def test_settings_may_stand_in_a_file_of_their_own_or_be_those_in_force(tmp_path: Path) -> None:
    tests = "tests:\n  - {name: a, pipeline: schedule, series: {cost: 1}, alarms: [{at: 10s, firing: []}]}\n"
    assert load(written(tmp_path, tests), deployment).settings == deployment()
    (tmp_path / "own.yaml").write_text("engines: {e: {}}\npipelines: {schedule: {engine: e, champion: schedule-v3}}\n")
    settings, _ = load(written(tmp_path, "settings: own.yaml\n" + tests), nowhere)
    assert settings.pipelines["schedule"].champion == "schedule-v3"
    with pytest.raises(SettingsError, match=r"other\.yaml: no such file"):
        load(written(tmp_path, "settings: other.yaml\n" + tests), nowhere)


def test_a_difference_says_what_is_missing_and_what_is_too_much(tmp_path: Path) -> None:
    alarms = "    alarms:\n" + "".join(
        f"      - {{at: {at}, firing: [{firing}]}}\n"
        for at, firing in (("0s", ""), ("40s", "errors"), ("50s", "day_80"), ("60s", "errors"))
    )
    (result,) = results(tmp_path, SETTINGS + SERIES + alarms)
    assert not result.holds
    assert [tuple(each) for each in result.differences] == [(40, ("errors",), ()), (50, ("day_80",), ("errors",))]
    assert [(each.at_s, each.event.data.summary[:25]) for each in result.said] == [(50, "p: error_rate is 0.50, ab")]


def test_incomplete_windows_are_judged_by_nobody_and_still_cost_money(tmp_path: Path) -> None:
    series = "    series: {error_rate: 0.5x5, cost: 0.2x5}\n    incomplete: 1x5\n"
    (result,) = results(tmp_path, SETTINGS + series + "    alarms: [{at: 1m, firing: [day_80, day_100]}]\n")
    assert result.holds, result.differences


def test_zeros_are_no_hexadecimal_number(tmp_path: Path) -> None:
    series = (
        "    series: {error_rate: 0x5, requests: 0x12, cost: 7}\n    incomplete: 0x3\n    counts: {error_rate: 0x1}\n"
    )
    _, (test,) = load(written(tmp_path, SETTINGS + series + ALARMS), nowhere)
    assert (test.series["error_rate"], len(test.series["requests"]), test.series["cost"]) == ((0.0,) * 6, 13, (7.0,))
    assert (test.incomplete, test.counts["error_rate"]) == ((0.0,) * 4, (0.0, 0.0))


def test_counts_say_how_many_observations_there_are(tmp_path: Path) -> None:
    few = SERIES + "    counts: {error_rate: 9 9 9 0 20x9}\n" + ALARMS.replace("[errors]", "[]")
    (result,) = results(tmp_path, SETTINGS + few.replace("0.1x2 0.5x2", "0x2 1x2"))
    assert result.holds, "the fourth window has none, the fifth twenty"


def test_it_says_what_the_stream_says() -> None:
    """The same windows through partials, progress and a partition's fold, and through a test file."""
    levels: dict[str, Any] = {
        "rules": [
            {"name": "errors", "metric": "error_rate", "above": 0.2, "leave": 0.1, "for_windows": 2},
            {"name": "slow", "metric": "e2e_ms", "statistic": "p95", "above": 50, "for_windows": 1},
            {"name": "quiet", "metric": "requests", "below": 1, "for_windows": 1},
        ],
        "objectives": [{"name": "answered", "metric": "error_rate", "target": 0.99}],
        "budgets": [{"name": "day", "max_usd_per_day": 1}],
    }
    settings = deployment(**levels)
    errors = [0] * 35 + [10] * 20 + [3] * 5 + [0] * 6
    times_ms = [20.0] * 50 + [80.0] * 10 + [20.0] * 6
    calls = [5] * 30 + [0] * 6 + [5] * 30
    meter, reader = Meter(), Reader(settings)
    streamed: list[ThresholdEvent] = []
    for window, (bad, time_ms, n) in enumerate(zip(errors, times_ms, calls, strict=True)):
        cell = answers(window * 10, [time_ms] * 20, errors=bad, cost_micros=20_000, priced=20)
        parts = [cell, requests(window * 10, n)] if n else [cell]
        streamed += reader.take(meter.partial(parts), meter.progress(window * 10 + 11)).events
    text = {
        "name": "a",
        "pipeline": "schedule",
        "start": START_MS // 1000,
        "series": {
            "error_rate": [bad / 20 for bad in errors],
            "e2e_ms": times_ms,
            "requests": calls,
            "cost": [0.02] * len(errors),
        },
        "counts": {"error_rate": 20, "e2e_ms": 20},
        "alarms": [{"at": "1s", "firing": []}],
    }
    result = run(RuleTest.model_validate(text), settings)
    assert {event.data.rule for event in streamed} == {"errors", "slow", "quiet", "answered_page", "day_80", "day_100"}
    assert [each.event.id for each in result.said] == [event.id for event in streamed]
    told = [(each.event.data.state, each.event.data.rule) for each in result.said]
    assert told == [(event.data.state, event.data.rule) for event in streamed]


def test_slices_are_judged_by_their_own_series(tmp_path: Path) -> None:
    settings = SETTINGS.replace("champion: p-v1", "champion: p-v1\n      slices: [tenant]")
    settings = settings.replace("for_windows: 2}", "for_windows: 2, slice: tenant=acme}")
    settings = settings.replace("max_usd_per_day: 1}", "max_usd_per_day: 1, each: tenant}")
    slices = "    slices: {tenant=acme: {error_rate: 0.5x3, cost: 0.2x3}, tenant=b: {cost: 0.4x3}}\n"
    expected = "{at: 10s, firing: []}, {at: 20s, firing: [errors]}, {at: 40s, firing: [errors, day_80, day_100]}"
    alarms = f"    alarms: [{expected}]\n"
    (result,) = results(tmp_path, settings + "    series: {error_rate: 0x3, cost: 9x3}\n" + slices + alarms)
    assert result.holds, result.differences
    assert {(said.event.data.rule, said.event.data.slice) for said in result.said} == {
        ("errors", "tenant=acme"),
        ("day_80", "tenant=b"),
        ("day_100", "tenant=b"),
    }
    with pytest.raises(SettingsError, match=r"slices\.team=a: 'team' is not in the pipeline's slices"):
        results(tmp_path, settings + SERIES + "    slices: {team=a: {cost: 1}}\n" + ALARMS)
