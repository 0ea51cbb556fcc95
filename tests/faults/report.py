"""``python -m tests.faults.report``: the table of docs/reliability.md, from what the runs left in .cache."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from tests.faults.record import Record, read
from tests.faults.scenarios import BY_NAME, LARGE

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- faults -->", "<!-- /faults -->"
COLUMNS = (
    "scenario",
    "what happens",
    "runs",
    "faults",
    "rows",
    "missing",
    "duplicates",
    "dead letters missing",
    "windows differing",
    "alarms lost",
    "alarms doubled",
    "longest lag, s",
)


def table(records: Sequence[Record]) -> str:
    """One row a scenario, over all its runs, and one for all together."""
    lines = [_row(COLUMNS), _row(["---"] * len(COLUMNS))]
    for name, scenario in BY_NAME.items():
        runs = [record for record in records if record.scenario == name]
        if runs:
            lines.append(_row([name, scenario.what, *_figures(runs)]))
    return "\n".join([*lines, _row(["**all**", "", *_figures(records)])])


def notes(records: Iterable[Record]) -> list[str]:
    """What did not hold, and what was repeated under its own id."""
    listed = list(records)
    wrong = [
        f"- {one.scenario}, seed {one.seed}: " + ", ".join(f"{name} {count}" for name, count in one.wrong.items())
        for one in listed
        if not one.holds
    ]
    said = ["What did not hold:", "", *wrong, ""] if wrong else []
    repeats = (
        ("dead letters", sum(one.letters_repeated for one in listed)),
        ("threshold events", sum(one.alarms_repeated for one in listed)),
        ("webhooks", sum(one.webhooks_repeated for one in listed)),
    )
    counts = ", ".join(f"{count} {name}" for name, count in repeats)
    return [*said, f"Said again under the same id, which their readers know: {counts}."]


def audited(record: Record) -> str:
    """What `tidemill audit` said of five million events."""
    return (
        f"\n**{record.rows:,} events across {sum(record.faults.values())} faults** ({record.what}, with "
        f"{record.restarts} restarts): `tidemill audit` found {record.missing} missing and {record.duplicates} twice; "
        f"{record.windows_differing} of {record.windows:,} windows differed."
    )


def write(page: Path = PAGE) -> None:
    """Replace what stands between the marks of the page."""
    records = read()
    large = [record for record in records if record.scenario == LARGE.name]
    usual = [record for record in records if record.scenario != LARGE.name]
    made = "\n".join([BEGIN, "", table(usual), "", *notes(records), *map(audited, large), END])
    text = page.read_text(encoding="utf-8")
    page.write_text(re.sub(f"{BEGIN}.*?{END}", lambda _: made, text, flags=re.DOTALL), encoding="utf-8")


def _figures(runs: Sequence[Record]) -> list[str]:
    def total(name: str) -> str:
        return f"{sum(getattr(run, name) for run in runs):,}"

    lags = [run.lag_s for run in runs]
    lag = "never seen" if None in lags else f"{max(lag for lag in lags if lag is not None):.1f}"
    faults = f"{sum(sum(run.faults.values()) for run in runs)}"
    names = ("rows", "missing", "duplicates", "letters_missing", "windows_differing", "alarms_lost", "alarms_doubled")
    return [str(len(runs)), faults, *(total(name) for name in names), lag]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    write()
