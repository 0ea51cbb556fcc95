"""What form a pipeline's answers must have."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from tidemill.answers import Check
from tidemill.output_format import FormatError, conforms_to, is_json
from tidemill.settings.strict import Strict, wrong


class OutputFormatSettings(Strict):
    """The form that each answer must have; the window metric ``output_valid`` is the share that has it."""

    type: Literal["any", "json", "json_schema"] = "any"
    """``json``: one JSON value and nothing else; ``json_schema``: one that fits ``json_schema``; ``any``: no check."""
    json_schema: dict[str, Any] = Field(default_factory=dict)
    """A JSON Schema (draft 2020-12 unless its ``$schema`` says otherwise), as YAML or JSON; nothing is fetched."""

    @cached_property
    def check(self) -> Check | None:
        """Tells whether a text has the form; None where any has."""
        if self.type == "json_schema":
            return conforms_to(self.json_schema)
        return is_json if self.type == "json" else None

    @model_validator(mode="after")
    def _check(self) -> OutputFormatSettings:
        if self.type == "json_schema" and not self.json_schema:
            raise wrong(("type",), "'json_schema' needs a schema; give one under json_schema, or choose json")
        if self.type != "json_schema" and self.json_schema:
            raise wrong(("json_schema",), "it is not looked at; set type: json_schema, or leave it out")
        try:
            _ = self.check
        except FormatError as error:
            raise wrong(("json_schema", *error.path), error.reason) from error
        return self
