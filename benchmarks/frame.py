"""One shape for every benchmark: figures, peers and goals; as tables, as one JSON line, in a page of docs/.

A benchmark reports and never judges: a goal that does not hold is said so, and the exit code stays 0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table as RichTable

from tidemill.local.demo.report import machine

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"
IMAGES = DOCS / "images"
MEASURED = Path(__file__).parent / "measured"
"""The JSON lines behind the page, one file a benchmark: what the capacity model reckons with."""


@dataclass(frozen=True)
class Goal:
    """A figure to reach: ``value`` is None where it could not be measured."""

    name: str
    value: float | None
    unit: str
    goal: float
    better: Literal["higher", "lower"]

    @property
    def holds(self) -> bool:
        """Whether the value is as good as the goal."""
        if self.value is None:
            return False
        return self.value >= self.goal if self.better == "higher" else self.value <= self.goal


@dataclass(frozen=True)
class Table:
    """A table for people; cells are shown as they are."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Picture:
    """A picture for a page of docs/: drawn only where the page is written."""

    name: str
    """Of the file in docs/images."""
    about: str
    """What it shows, for those who do not see it."""
    draw: Callable[[Path], None]


@dataclass(frozen=True)
class Result:
    """What one benchmark found."""

    bench: str
    figures: dict[str, Any]
    goals: Sequence[Goal]
    peers: dict[str, dict[str, Any]] = field(default_factory=dict)
    tables: Sequence[Table] = ()
    notes: Sequence[str] = ()
    """Sentences below the tables: what was held equal, what is not comparable."""
    pictures: Sequence[Picture] = ()
    """Above the tables."""
    page: Path = PAGE
    """Where the tables belong."""

    def line(self) -> str:
        """The JSON line every benchmark ends with."""
        goals = [
            {"name": g.name, "value": g.value, "unit": g.unit, "goal": g.goal, "better": g.better, "holds": g.holds}
            for g in self.goals
        ]
        said = {"bench": self.bench, "machine": machine(), "figures": self.figures, "peers": self.peers}
        return json.dumps({**said, "goals": goals})

    def all_tables(self) -> list[Table]:
        """The goals first, where there are any, then the benchmark's own tables."""
        rows = [
            (g.name, number(g.value), f"{'≥' if g.better == 'higher' else '≤'} {g.goal:g} {g.unit}".strip(), _word(g))
            for g in self.goals
        ]
        goals = [Table("Goals", ("goal", "value", "wanted", ""), rows)] if rows else []
        return [*goals, *self.tables]

    def show(self, console: Console) -> None:
        """Print every table and note."""
        for table in self.all_tables():
            shown = RichTable(*table.columns, title=table.title, title_justify="left")
            for row in table.rows:
                shown.add_row(*row)
            console.print(shown)
        for note in self.notes:
            console.print(note)

    def into_page(self) -> None:
        """Replace the benchmark's section of its page (what stands between its two marks), draw, keep the JSON line."""
        begin, end = f"<!-- bench:{self.bench} -->", f"<!-- /bench:{self.bench} -->"
        text = self.page.read_text(encoding="utf-8")
        if begin not in text or end not in text:
            raise ValueError(f"{self.page} has no place for {self.bench}: it needs the lines {begin} and {end}")
        made = "\n".join([begin, "", *(self._markdown()), end])
        new = re.sub(re.escape(begin) + ".*?" + re.escape(end), lambda _: made, text, flags=re.DOTALL)
        self.page.write_text(new, encoding="utf-8")
        for picture in self.pictures:
            picture.draw(IMAGES / picture.name)
        MEASURED.mkdir(exist_ok=True)
        (MEASURED / f"{self.bench}.json").write_text(self.line() + "\n", encoding="utf-8")

    def _markdown(self) -> list[str]:
        said = machine()
        lines = [f"Measured on {said['cpus']} cores, {said['memory_gib']:g} GiB, Python {said['python']}.", ""]
        for picture in self.pictures:
            lines += [f"![{picture.about}](images/{picture.name})", ""]
        for table in self.all_tables():
            lines += [f"**{table.title}**", "", _row(table.columns), _row(["---"] * len(table.columns))]
            lines += [_row(row) for row in table.rows] + [""]
        for note in self.notes:
            lines += [note, ""]
        return lines


def number(value: float | None) -> str:
    """A figure as people read it: three significant digits, thousands parted; a dash where there is none."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _word(goal: Goal) -> str:
    return "holds" if goal.holds else "not measured" if goal.value is None else "does not hold"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
