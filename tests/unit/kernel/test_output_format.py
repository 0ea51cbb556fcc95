"""Which answers have the form a pipeline wants, and which schemas stop the start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.kernel.test_settings import GOOD, load
from tidemill.errors import SettingsError
from tidemill.output_format import FormatError, conforms_to, is_json
from tidemill.settings import Settings

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["at"],
    "properties": {"at": {"type": "string"}, "with": {"$ref": "#/$defs/person"}},
    "additionalProperties": False,
    "$defs": {"person": {"type": "object", "properties": {"knows": {"$ref": "#/$defs/person"}}}},
}


@pytest.mark.parametrize("text", ['{"a": [1, null]}', " 3 ", '"x"', "[]"])
def test_json(text: str) -> None:
    assert is_json(text)


@pytest.mark.parametrize(
    "text", ["", "yes", "{'a': 1}", '```json\n{"a": 1}\n```', '{"a": 1} done', "[" * 100_000, "\ud800"]
)
def test_no_json(text: str) -> None:
    assert not is_json(text)


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ('{"at": "tue"}', True),
        ('{"at": "tue", "with": {"knows": {"knows": {}}}}', True),
        ('{"at": 15}', False),
        ('{"with": {}}', False),
        ('{"at": "tue", "room": 4}', False),
        ('{"at": "tue", "with": {"knows": 1}}', False),
        ("tue", False),
        ('{"at": "tue", "with": ' + "9" * 400 + "}", False),
        ('{"at": "tue", "with": ' + '{"knows": ' * 5_000 + "{}" + "}" * 5_001, False),
    ],
)
def test_schema(text: str, fits: bool) -> None:
    assert conforms_to(SCHEMA)(text) is fits


@pytest.mark.parametrize(
    ("schema", "path", "reason"),
    [
        ({"type": "objekt"}, ("type",), "no valid JSON Schema"),
        ({"properties": {"a": {"minimum": "x"}}}, ("properties", "a", "minimum"), "no valid JSON Schema"),
        ({"$ref": "https://example.org/schema"}, ("$ref",), "nowhere in this schema"),
        ({"allOf": [{"$ref": "#/$defs/a"}]}, ("allOf", 0, "$ref"), "nowhere in this schema"),
        ({"items": {"$id": "https://example.org/a", "type": "object"}}, ("items", "$id"), "leave it out"),
        ({"items": {"pattern": "("}}, ("items", "pattern"), "is not a 'regex'"),
        ({"patternProperties": {"[": {}}}, ("patternProperties",), "is not a 'regex'"),
        ({"const": {1, 2}}, (), "no JSON"),
    ],
)
def test_a_schema_that_cannot_be_used_says_where(schema: dict[str, Any], path: tuple[Any, ...], reason: str) -> None:
    with pytest.raises(FormatError, match=reason) as refused:
        conforms_to(schema)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("    output_format: {type: xml}\n", 7, "must be 'any', 'json' or 'json_schema'"),
        ("    output_format: {type: json_schema}\n", 7, "needs a schema"),
        ("    output_format:\n      json_schema: {type: object}\n", 8, "set type: json_schema, or leave it out"),
        (
            "    output_format:\n      type: json_schema\n      json_schema:\n        properties:\n          at:\n"
            "            type: text\n",
            12,
            "'text' is not valid",
        ),
        (
            "    output_format:\n      type: json_schema\n      json_schema:\n        anyOf:\n"
            "        - {type: object}\n        - {$ref: '#/$defs/none'}\n",
            12,
            "nowhere in this schema",
        ),
        (
            "    output_format:\n      type: json_schema\n      json_schema: {enum: [2026-01-01]}\n",
            9,
            "put quotes around texts",
        ),
    ],
)
def test_a_bad_schema_stops_the_start_with_its_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(tmp_path, GOOD + text)
    assert f"tidemill.yaml:{line}:" in str(refused.value) and words in str(refused.value), refused.value


def test_the_settings_give_the_check(tmp_path: Path) -> None:
    form = '    output_format: {type: json_schema, json_schema: {type: array, items: {"enum": [yes, "no"]}}}\n'
    settings = load(tmp_path, GOOD + form)
    assert isinstance(settings, Settings)
    check = settings.pipelines["support"].output_format.check
    assert check is not None and check('["no", true]') and not check('["yes"]'), "YAML's yes is true"
    assert settings.model_copy().pipelines["support"].output_format.check is check
    plain = load(tmp_path, GOOD)
    assert isinstance(plain, Settings) and plain.pipelines["support"].output_format.check is None
