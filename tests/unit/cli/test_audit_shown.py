"""Names are shown as they are, whatever they hold."""

from __future__ import annotations

import pytest

from consumers.audit.report import Difference, Report, Windows
from tidemill.cli.audit import _show

NAME = "[/red] [bold]shop[/bold] ["


def report(windows: Windows) -> Report:
    return Report(time_ms=1, since_ms=None, parts=(), repeats=(), projections=(), windows=windows)


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
