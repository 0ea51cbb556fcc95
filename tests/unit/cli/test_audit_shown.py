"""What `tidemill audit` shows: names as they are, a table that fits, and a verdict."""

from __future__ import annotations

from typing import Any

import pytest

from consumers.audit.report import Difference, Part, Projection, Report, Windows
from tidemill.cli.audit import NO_LOSS, _show, verdict

NAME = "[/red] [bold]shop[/bold] ["


def report(windows: Windows, *parts: Part, projections: tuple[Projection, ...] = ()) -> Report:
    return Report(time_ms=1, since_ms=None, parts=parts, repeats=(), projections=projections, windows=windows)


def part(table: str = "responses", partition: int = 0, **counts: Any) -> Part:
    return Part(topic="t", table=table, partition=partition, lo=0, **({"hi": 100, "rows": 100} | counts))


def test_a_pipeline_may_be_named_like_markup(capsys: pytest.CaptureFixture[str]) -> None:
    differs = Difference(
        pipeline=NAME,
        start_ms=5,
        model_version=NAME,
        variant="",
        role="",
        slice="",
        metric="e2e_ms",
        stream="n=1",
        rows="",
    )
    _show(report(Windows(compared=1, differing={NAME: [5]}, examples=(differs,))))
    assert "".join(capsys.readouterr().out.split()).count("".join(NAME.split())) == 2


def test_windows_that_were_not_compared_are_said_to_be_so(capsys: pytest.CaptureFixture[str]) -> None:
    _show(report(Windows(behind=7)))
    assert "not compared, as the sink is 7 messages behind" in " ".join(capsys.readouterr().out.split())


def test_the_table_fits_80_columns_with_a_line_a_table_and_each_column_explained(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    many: dict[str, Any] = {"hi": 123_456_789, "rows": 123_456_000}
    many |= dict.fromkeys(NO_LOSS, 12_345)
    _show(report(Windows(compared=2), *(part("responses", n, **many) for n in range(8)), part("routes")))
    shown = capsys.readouterr().out.splitlines()
    (head,) = [n for n, line in enumerate(shown) if line.startswith("table")]
    table = shown[: head + 3]
    assert max(map(len, table)) <= 80
    assert table[head + 1].split() == [
        *("responses", "987,654,312", "987,648,000", "0", "0", "98,760", "98,760", "98,760", "98,760")
    ]
    for name, meaning in NO_LOSS.items():
        assert f"{name.replace('_', ' ')}: {meaning}" in shown


def test_columns_that_say_nothing_are_left_out_and_what_is_wrong_is_said_by_partition(
    capsys: pytest.CaptureFixture[str],
) -> None:
    wrong = part(partition=3, rows=99, missing=2, duplicates=1, examples=("17-18", "40 twice"))
    _show(report(Windows(compared=2), part(), wrong))
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["table", "offsets", "rows", "missing", "twice"]
    assert shown[1].split() == ["responses", "200", "199", "2", "1"]
    assert shown[2] == "responses, partition 3, offsets 0 to 99: 2 missing, 1 twice; at 17-18, 40 twice"
    assert shown[-2] == "windows: 2 compared, 0 differ"
    assert shown[-1] == "differs: 199 rows, 2 missing, 1 twice, 0 of 2 windows differ"


def test_the_verdict_is_one_sentence() -> None:
    assert verdict(report(Windows(compared=210), part(rows=12_345))) == (
        "holds: 12,345 rows, none missing, none twice, 0 of 210 windows differ"
    )
    behind = report(Windows(behind=7), part())
    assert verdict(behind) == "holds: 100 rows, none missing, none twice, windows not compared"
    unequal = (Projection(table="responses", name="by_minute", equal=False),)
    assert verdict(report(Windows(differing={"shop": [5]}, compared=2), projections=unequal)) == (
        "differs: 0 rows, none missing, none twice, 1 of 1 projections not equal to their table, 1 of 2 windows differ"
    )
