"""What a person gives `tidemill silence` is checked before anything runs; errors name the option and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.unit.kernel.test_silences import NOW, S, silence, table
from tidemill.cli import silence as command
from tidemill.cli.main import app
from tidemill.cli.silence_given import known_alerts, matching, span
from tidemill.errors import Stop
from tidemill.settings import Settings, load_settings
from tidemill.silences import KEPT_MS, LEAD_MS, LONGEST_MS, MOST_OPEN

HOUR = 3_600_000
LONG = "x" * 257


@pytest.fixture
def settings() -> Settings:
    return load_settings(Path(__file__).parents[3] / "tidemill.yaml", {})


def matched(settings: Settings, pipeline: str = "", alert: str = "", *match: str) -> tuple[dict[str, str], list[str]]:
    return matching(settings, pipeline, alert, match, known_alerts(settings))


def test_names_become_expressions_for_the_whole_value(settings: Settings) -> None:
    found, doubts = matched(settings, "schedule", "quality", "severity=page|ticket", "slice=~tenant=a.*")
    assert doubts == []
    assert found == {
        **{"pipeline": "schedule", "alertname": "quality"},
        **{"severity": "page|ticket", "slice": "tenant=a.*"},
    }


def test_a_name_with_characters_of_expressions_is_meant_as_it_is(settings: Settings) -> None:
    pipelines = {"a+b": settings.pipelines["schedule"], **settings.pipelines}
    odd = settings.model_copy(update={"pipelines": pipelines})
    assert matched(odd, "a+b")[0] == {"pipeline": r"a\+b"}
    assert matched(odd, "sched.*|a")[0] == {"pipeline": "sched.*|a"}


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), "say which alarms: --pipeline, --alert or --match"),
        (
            ("schedul",),
            r"--pipeline 'schedul' is no pipeline of the settings; did you mean 'schedule'\? .*--match pipeline=",
        ),
        (("", "late(ncy"), r"--alert 'late\(ncy' is no regular expression"),
        (("", "", "severity"), "--match 'severity' is no LABEL=REGEX"),
        (("", "", "severty=page"), r"'severty' is no label of an alert; did you mean 'severity'\?"),
        (("", "", "severity=*"), r"--match '\*' is no regular expression: nothing to repeat"),
        (("schedule", "", "pipeline=.*"), "--match names the label pipeline once more"),
        (("", LONG), "--alert alertname=x{20}… has 257 characters; 256 are taken"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings: Settings, given: tuple[str, ...], told: str) -> None:
    with pytest.raises(Stop, match=told):
        matched(settings, *given)


def test_what_may_be_a_mistake_is_said_and_counts(settings: Settings) -> None:
    assert matched(settings, "", "latenzy")[1][0].startswith("alertname=latenzy matches none of ")
    assert matched(settings, "x.*")[1][0].startswith("pipeline=x.* matches none of ")
    for name in ("quality", "drift_input_length", "host_disk", "audit_rows"):
        assert matched(settings, "tidemill", name)[1] == []


@pytest.mark.parametrize(
    ("lasts", "start", "end", "expected"),
    [
        ("", "", "", (0, HOUR)),
        ("30m", "", "", (0, HOUR // 2)),
        ("7d", "", "", (0, LONGEST_MS)),
        ("", "", "2023-11-14T23:13:20Z", (0, HOUR)),
        ("2h", "2023-11-14T23:13:20", "", (HOUR, 3 * HOUR)),
        ("2h", "2023-11-14T21:13:20", "", (-HOUR, 2 * HOUR)),
    ],
)
def test_it_has_a_beginning_and_an_end(lasts: str, start: str, end: str, expected: tuple[int, int]) -> None:
    assert span(lasts, start, end, NOW) == (NOW + expected[0], NOW + expected[1])


@pytest.mark.parametrize(
    ("lasts", "start", "end", "told"),
    [
        ("2", "", "", "--for '2' is no stretch of time: give 90s, 30m, 2h or 7d"),
        ("0h", "", "", "--for '0h' is no stretch"),
        ("8d", "", "", "--for 8d is longer than 7 days.* Give --for 7d at most"),
        ("", "", "2090-01-01", "--end 2090-01-01 is longer than 7 days"),
        ("", "", "2023-11-14", "--end 2023-11-14 is not after now"),
        ("", "2023-11-16", "2023-11-15", "is not after --start 2023-11-16"),
        ("1h", "", "2023-11-15", "--for and --end say the same"),
        ("", "2h", "", "--start '2h' is no moment"),
        ("", "soon", "", "--start 'soon' is no time"),
    ],
)
def test_a_span_that_cannot_be_meant_is_refused(lasts: str, start: str, end: str, told: str) -> None:
    with pytest.raises(Stop, match=told):
        span(lasts, start, end, NOW)


def test_there_are_so_many_at_most_and_each_has_its_reason() -> None:
    full = table(*((silence(f"s{number}"), NOW) for number in range(MOST_OPEN)))
    between = (NOW, NOW + S)
    with pytest.raises(Stop, match="there are 500 silences already; end some"):
        command.new(full, {"pipeline": "a"}, between, "works", "ada", NOW)
    assert command.new(full, {"pipeline": "a"}, between, "works", "ada", NOW + 200 * S).comment == "works"
    for comment, by, told in (("  ", "ada", "--comment has 0"), ("works", LONG, "--by has 257")):
        with pytest.raises(Stop, match=told):
            command.new(table(), {"pipeline": "a"}, between, comment, by, NOW)


def test_one_is_ended_by_how_its_id_begins() -> None:
    several = table((silence("abc1"), NOW), (silence("abd2"), NOW), (silence("old", end_ms=NOW + 5 * S), NOW))
    now = NOW + 10 * S
    assert command.chosen(several, "abc", now).silence.silence_id == "abc1"
    for name, told in (
        ("ab", "abc1, abd2: say which"),
        ("x", "no silence 'x'"),
        ("", "no silence"),
        ("old", "already"),
    ):
        with pytest.raises(Stop, match=told):
            command.chosen(several, name, now)
    (known, *_) = several.all()
    assert command.expired(known).start_ms == NOW + LEAD_MS and command.expired(known).expired


def test_what_has_long_ended_is_made_forgotten_with_the_next_record() -> None:
    assert command.forgotten(table((silence("a"), NOW)), NOW + 101 * S + KEPT_MS) == {"a": None}


def test_the_help_shows_how_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 200)
    shown = CliRunner().invoke(app, ["silence", "--help"]).output
    assert 'tidemill silence add --pipeline support --alert latency --for 2h --comment "provider is down' in shown
