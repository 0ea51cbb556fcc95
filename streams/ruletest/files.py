"""Test files of service levels: settings, series of windows, and which alarms must fire when."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import yaml
from pydantic import BeforeValidator, Field, model_validator

from streams.ruletest.series import expand, seconds
from tidemill.errors import SettingsError
from tidemill.metrics import SHARES, SLICE_METRICS, WINDOW_METRICS
from tidemill.settings import PipelineSettings, Settings, load_settings
from tidemill.settings.explain import Path_
from tidemill.settings.load import checked, read
from tidemill.settings.slices import slice_fault
from tidemill.settings.strict import Strict, choice, wrong

DEFAULT_COUNT = 100
_INT = "tag:yaml.org,2002:int"
MAX_COUNT = 1_000_000_000


class PlainNumbers(yaml.SafeLoader):
    """YAML without hexadecimal numbers: in a series ``0x5`` is six zeros and not the number five."""

    yaml_implicit_resolvers = {
        first: [(tag, form) for tag, form in forms if tag != _INT]
        for first, forms in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


PlainNumbers.add_implicit_resolver(_INT, re.compile(r"[-+]?(?:0|[1-9]\d*)$"), list("-+0123456789"))


def _series(given: Any) -> Any:
    return expand(given) if isinstance(given, str) else [given] if isinstance(given, int | float) else given


def _seconds(given: Any) -> Any:
    if not isinstance(given, str):
        raise ValueError("a time needs its unit; write 40s, 5m, 1h30m or 2d")
    return seconds(given)


Series = Annotated[tuple[float | None, ...], BeforeValidator(_series)]
Seconds = Annotated[int, BeforeValidator(_seconds)]


class Expected(Strict):
    """Which alarms fire at a time, and no others."""

    at: Seconds
    """Time from the test's start; windows that have ended by then are judged."""
    firing: tuple[str, ...]


class RuleTest(Strict):
    """Windows of one pipeline, and what must come of them."""

    name: str = Field(min_length=1)
    pipeline: str
    start: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    """Event time of the first window's start."""
    series: dict[str, Series] = Field(min_length=1)
    """Window by window, by metric: a mean, share or quantile that all observations have, or a sum."""
    slices: dict[str, dict[str, Series]] = Field(default_factory=dict)
    """The same by slice (`tenant=acme`), and then by metric; ``series`` stays what it is."""
    counts: dict[str, Series] = Field(default_factory=dict)
    """Observations behind a metric's figures, window by window, the last one for all that follow; 100 by default."""
    incomplete: Series = ()
    """Windows that are not 0 here are incomplete."""
    alarms: tuple[Expected, ...] = Field(min_length=1)

    @property
    def start_ms(self) -> int:
        start = self.start if self.start.tzinfo else self.start.replace(tzinfo=UTC)
        return round(start.timestamp()) * 1000

    @property
    def windows(self) -> int:
        return max(len(values) for series in (self.series, *self.slices.values()) for values in series.values())

    @model_validator(mode="after")
    def _check(self) -> RuleTest:
        for group in ("series", "counts"):
            for metric in getattr(self, group):
                if metric not in WINDOW_METRICS:
                    raise wrong((group, metric), f"{metric!r} is no window metric; {choice(metric, WINDOW_METRICS)}")
        for name, series in self.slices.items():
            for metric in series:
                if metric not in SLICE_METRICS:
                    message = f"{metric!r} is not measured by slice; {choice(metric, SLICE_METRICS)}"
                    raise wrong(("slices", name, metric), message)
        for path, given in ((("series",), self.series), *((("slices", n), s) for n, s in self.slices.items())):
            for metric in SHARES & given.keys():
                beyond = [value for value in given[metric] if value is not None and not 0 <= value <= 1]
                if beyond:
                    message = f"{metric} lies between 0 and 1; write 20 % as 0.2 (got {beyond[0]:g})"
                    raise wrong((*path, metric), message)
        for metric, counts in self.counts.items():
            if any(count is None or not 0 <= count <= MAX_COUNT or count % 1 for count in counts):
                raise wrong(("counts", metric), f"give whole numbers from 0 to {MAX_COUNT:,}; no data goes into series")
        return self


class RuleTests(Strict):
    """A test file."""

    settings: str = ""
    """Settings file, from this file's folder; or the settings themselves; left out: the settings in force."""
    tests: tuple[RuleTest, ...] = Field(min_length=1)


class Loaded(NamedTuple):
    """A file that is fit to be run."""

    settings: Settings
    tests: tuple[RuleTest, ...]


def load(file: Path, in_force: Callable[[], Settings]) -> Loaded:
    """The checked tests of a file. Raises SettingsError with the line of what is wrong.

    A settings file that it names is taken as it stands, without the environment's overrides; ``in_force`` gives the
    settings where it names none.
    """
    data, lines = read(file, PlainNumbers)
    own = data.pop("settings") if isinstance(data.get("settings"), dict) else None
    tests = checked(RuleTests, data, file, lines)
    if own is not None:
        inner = {path[1:]: line for path, line in lines.items() if path[0] == "settings"}
        settings = checked(Settings, own, file, inner)
    elif tests.settings:
        settings = load_settings(file.parent / tests.settings, {})
    else:
        settings = in_force()
    for index, test in enumerate(tests.tests):
        for path, message in _misfits(test, settings):
            place: Path_ = ("tests", index, *path)
            line = next((lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in lines), 1)
            raise SettingsError(f"{file}:{line}: {'.'.join(map(str, place))}: {message}")
    return Loaded(settings, tests.tests)


def _misfits(test: RuleTest, settings: Settings) -> Iterator[tuple[Path_, str]]:
    """What of a test does not go with the settings."""
    pipeline = settings.pipelines.get(test.pipeline)
    if pipeline is None:
        known = f"there are {', '.join(settings.pipelines)}" if settings.pipelines else "the settings have none"
        yield ("pipeline",), f"there is no pipeline {test.pipeline!r} in the settings; {known}"
        return
    for name in test.slices:
        if (fault := slice_fault(name, pipeline.slices)) is not None:
            yield ("slices", name), fault
    levels, size_s = alarms_of(pipeline), settings.windows.size_s
    if test.start_ms % (size_s * 1000):
        yield ("start",), f"{test.start.isoformat()} begins no window of {size_s} s; choose a round time"
    for index, expected in enumerate(test.alarms):
        if expected.at > test.windows * size_s:
            message = f"{expected.at} s is after the last window ({test.windows} of {size_s} s); give longer series"
            yield ("alarms", index, "at"), message
        for name in expected.firing:
            if name not in levels:
                yield (
                    ("alarms", index, "firing"),
                    f"no level of {test.pipeline} raises {name!r}; {choice(name, levels)}",
                )
    for objective in pipeline.objectives:
        for window, value in enumerate(test.series.get(objective.metric, ())):
            bad = (value or 0.0) * count_of(test, objective.metric, window)
            if objective.slower_than_ms is None and abs(bad - round(bad)) > 1e-6:
                message = f"{value:g} in window {window} is {bad:g} bad answers; set counts.{objective.metric}"
                yield ("series", objective.metric), f"{message} so that {objective.name} can count them"
                break


def count_of(test: RuleTest, metric: str, window: int) -> int:
    """Observations behind a metric's figure in a window."""
    counts = test.counts.get(metric, (DEFAULT_COUNT,))
    return int(counts[min(window, len(counts) - 1)] or 0)


def alarms_of(pipeline: PipelineSettings) -> list[str]:
    """The names of all alarms that a pipeline's levels may raise."""
    rules = [rule.name for rule in pipeline.rules]
    burns = [name for objective in pipeline.objectives for name in objective.alarms]
    return rules + burns + [name for budget in pipeline.budgets for name in budget.alarms]
