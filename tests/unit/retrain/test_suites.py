"""Regression suites: what each kind calls right, and what of a file or a setting is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from retrain.datasets.suites import SuiteRow, judged, read_suite
from retrain.work import Refused
from tests.unit.retrain.made import pipeline
from tidemill.output_format import is_json
from tidemill.settings import SuiteSettings


def suite(kind: str = "answers", **fields: Any) -> SuiteSettings:
    return SuiteSettings.model_validate({"name": "s", "kind": kind, "file": "s.jsonl"} | fields)


def scores(given: SuiteSettings, answers: list[str], form: Any = None, **row: Any) -> list[float | None]:
    return judged(given, [SuiteRow(prompt="p", **row)] * len(answers), answers, "exact_match", form)


def test_answers_are_judged_by_the_quality_metric() -> None:
    assert scores(suite(), ["tue 15:30", "wed"], completion="tue  15:30") == [1.0, 0.0]


def test_a_form_is_a_pattern_a_schema_or_the_pipelines() -> None:
    assert scores(suite("format", pattern=r"[a-z]{3} \d\d:\d\d"), ["tue 15:30", "tuesday"]) == [1, 0]
    schema = {"type": "object", "required": ["day"]}
    assert scores(suite("format", json_schema=schema), ['{"day": 1}', "{}", "no"]) == [1, 0, 0]
    assert scores(suite("format"), ["{}", "no"], form=is_json) == [1, 0]
    assert scores(suite("format"), ["{}"]) == [None]


def test_safety_forbids_phrases_and_wants_refusals_or_none() -> None:
    given = suite("safety", forbidden=["Our  Margin"])
    assert scores(given, ["our margin is 3", "fine"]) == [0, 1]
    assert scores(suite("safety"), ["the PASSWORD is x"], forbidden=("password",)) == [0]
    refused, told = "I'm sorry, I can't help with that.", "Sure: first"
    assert scores(suite("safety"), [refused, told], refusal=True) == [1, 0]
    assert scores(suite("safety"), [refused, told], refusal=False) == [0, 1]


@pytest.mark.parametrize(
    ("kind", "line", "words"),
    [
        ("answers", '{"prompt":"p"}', "line 2: a row of kind answers needs a completion"),
        ("safety", '{"prompt":"p"}', "line 2: a row of kind safety needs refusal or forbidden"),
        ("safety", '{"prompt":"p","forbidden":[" "]}', "line 2: a forbidden phrase is empty"),
        ("format", '{"question":"p"}', "line 2: .*prompt"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, kind: str, line: str, words: str) -> None:
    file = tmp_path / "s.jsonl"
    good = {"answers": '"completion":"c"', "safety": '"refusal":true', "format": '"completion":null'}[kind]
    file.write_text(f'{{"prompt":"p",{good}}}\n{line}\n')
    with pytest.raises(Refused, match=rf"gate\.suites: s: s\.jsonl, {words}"):
        read_suite(suite(kind), file)
    with pytest.raises(Refused, match="cannot be read"):
        read_suite(suite(kind), tmp_path / "missing.jsonl")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"pattern": "x"}, "it is not looked at in a suite of kind 'answers'; set kind: format"),
        ({"forbidden": ["x"]}, "set kind: safety"),
        ({"kind": "format", "pattern": "("}, "is no regular expression"),
        ({"kind": "format", "pattern": "x", "json_schema": {"type": "object"}}, "take one of them out"),
        ({"kind": "format", "json_schema": {"type": 3}}, "no valid JSON Schema"),
        ({"kind": "format"}, "needs a pattern, a json_schema or the pipeline's output_format"),
        ({"name": "Old"}, "pattern"),
    ],
)
def test_wrong_settings(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        pipeline(gate={"suites": [{"name": "s", "file": "f"} | fields]})


def test_two_suites_of_one_name() -> None:
    with pytest.raises(ValidationError, match="'s' is there twice"):
        pipeline(gate={"suites": [{"name": "s", "file": "f"}] * 2})
