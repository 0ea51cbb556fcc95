"""What a candidate must show before it may see traffic."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Any, Literal

from pydantic import Field, model_validator

from tidemill.answers import Check
from tidemill.output_format import FormatError, conforms_to
from tidemill.settings.strict import Strict, wrong

MOST_SUITES = 20


class SuiteSettings(Strict):
    """A regression suite: frozen prompts that candidate and champion both answer. No training sees them."""

    name: str = Field(pattern="^[a-z0-9][a-z0-9_-]{0,39}$")
    """What it is called in verdicts: `suite.<name>`."""
    kind: Literal["answers", "format", "safety"] = "answers"
    """``answers`` (old domains, golden cases): the quality metric against each row's `completion`. ``format``: the form
    that each answer must have. ``safety``: what no answer may say, and what must be refused."""
    file: str = Field(min_length=1)
    """JSON Lines file of `prompt` and, by kind, `completion`; or `forbidden` (a list of phrases) and `refusal` (true:
    the answer must be one; false: it must not)."""
    max_loss: float = Field(default=0.1, ge=0, le=1)
    """The candidate must be shown to score less than this below the champion."""
    min_score: float = Field(default=0, ge=0, le=1)
    """Least mean score, whatever the champion's is."""
    min_rows: int = Field(default=20, ge=1)
    """Fewer comparable rows than this: inconclusive."""
    pattern: str = ""
    """Of kind ``format``: a regular expression for the whole answer. Without it and ``json_schema`` the pipeline's
    ``output_format`` counts."""
    json_schema: dict[str, Any] = Field(default_factory=dict)
    """Of kind ``format``: a JSON Schema that each answer must fit."""
    forbidden: tuple[str, ...] = ()
    """Of kind ``safety``: phrases that no answer may hold, in whatever capitals."""

    @cached_property
    def form(self) -> Check | None:
        """Tells whether an answer has this suite's own form; None where it has none."""
        if self.json_schema:
            return conforms_to(self.json_schema)
        if not self.pattern:
            return None
        whole = re.compile(self.pattern, re.DOTALL)
        return lambda answer: whole.fullmatch(answer.strip()) is not None

    @model_validator(mode="after")
    def _check(self) -> SuiteSettings:
        for name, kind in (("pattern", "format"), ("json_schema", "format"), ("forbidden", "safety")):
            if getattr(self, name) and self.kind != kind:
                raise wrong((name,), f"it is not looked at in a suite of kind {self.kind!r}; set kind: {kind}")
        if self.pattern and self.json_schema:
            raise wrong(("pattern",), "a suite has a pattern or a json_schema; take one of them out")
        try:
            _ = self.form
        except re.error as error:
            raise wrong(("pattern",), f"{self.pattern!r} is no regular expression: {error}") from error
        except FormatError as error:
            raise wrong(("json_schema", *error.path), error.reason) from error
        return self


class GateSettings(Strict):
    """What a candidate must show on trusted data before it may see traffic."""

    alpha: float = Field(default=0.05, gt=0, lt=0.5)
    """The chance, check by check, that one passes a candidate that is not better, or worse by its whole margin."""
    min_quality: float = Field(default=0.6, ge=0, le=1)
    """Least mean score on the verified fresh labels."""
    min_gain: float = Field(default=0.05, ge=0, le=1)
    """Least gain over the champion, re-scored now on the same data; and that there is one must be shown. 0: it need not
    be, and the candidate may score as the champion does."""
    max_golden_loss: float = Field(default=0.1, ge=0, le=1)
    """The candidate must be shown to lose less than this on the frozen golden set against the champion (which takes 30
    rows at 0.1 even where nothing is lost)."""
    min_verified: int = Field(default=20, ge=1)
    """Fewer verified fresh labels than this: inconclusive, and the candidate does not pass."""
    parity_samples: int = Field(default=24, ge=1)
    """Answers compared between training and the engine."""
    min_parity: float = Field(default=0.9, ge=0, le=1)
    """Least share of equal answers of training and engine."""
    golden_set: str = ""
    """JSON Lines file of frozen prompt/completion pairs; empty: no golden check."""
    suites: tuple[SuiteSettings, ...] = Field(default=(), max_length=MOST_SUITES)
    max_calibration_loss: float = Field(default=0.25, ge=0, le=1)
    """A candidate whose expected calibration error on the verified labels is surely larger than the champion's by more
    than this does not pass. 1: never judged."""
    smoke_samples: int = Field(default=12, ge=0, le=200)
    """Prompts that candidate and champion answer in turn in the engine, to compare time and cost; 0: not compared."""
    max_slowdown: float = Field(default=0.5, gt=0)
    """A candidate that is surely slower by more than this does not pass: 0.5 is half as long again, a token where the
    engine counts them, else an answer."""
    max_cost_increase: float = Field(default=1.0, gt=0)
    """A candidate whose answers surely cost more by more than this does not pass: 1 is twice as much."""

    @model_validator(mode="after")
    def _check(self) -> GateSettings:
        names = [suite.name for suite in self.suites]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise wrong(("suites", index, "name"), f"{name!r} is there twice; choose another name")
        return self
