"""Builds the evidence of one alarm and its report, in a process of its own (evidently takes long to import and much
memory; niced):

    python -m consumers.evidence.report --job FILE

The job is JSON (``why.Job``). The evidence comes first, as it takes a moment where the report takes minutes. Ends with
code 3 when one side has too few calls for a report; the evidence is there then, too.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from consumers.evidence.call import columns, kept
from consumers.evidence.why import Job, evidence
from tidemill.io.modes import write_private

FEW_ROWS = 10
TOO_FEW = 3
NICE = 15
TEXTS = ("input_text", "output_text")
_LOOK_ALIKES = str.maketrans("<>", "‹›")
_MOST_TEXTS_SHARE_MISSING = 0.5


def usable(reference: list[dict[str, Any]], current: list[dict[str, Any]]) -> tuple[list[str], list[str]]:
    """Numeric and text columns that both sides know for at least half of their calls: pure."""
    names = sorted({name for row in (*reference, *current) for name in row})

    def known(name: str) -> bool:
        return all(
            sum(row.get(name) is not None for row in side) >= max(FEW_ROWS, len(side) * _MOST_TEXTS_SHARE_MISSING)
            for side in (reference, current)
        )

    kept = [name for name in names if known(name)]
    return [name for name in kept if name not in TEXTS], [name for name in kept if name in TEXTS]


def harmless(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without any angle bracket: evidently writes names and texts into a script of its page as they are, where
    one user's ``</script>`` would end that script and run, beside other users' texts, whatever comes after it.
    """
    return {_plain(name): _plain(value) if isinstance(value, str) else value for name, value in row.items()}


def _plain(text: str) -> str:
    return text.translate(_LOOK_ALIKES)


def build(job: Job) -> int:
    """Write ``out``.evidence.json, ``out``.html and ``out``.json, each whole or not at all; give back the exit code."""
    out = Path(job.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_private(out.with_name(f"{out.name}.evidence.json"), msgspec.json.encode(evidence(job)).decode())
    sides = ([kept(call, job.capture) for call in side] for side in (job.reference, job.current))
    reference, current = ([columns(call, {job.metric}) for call in side] for side in sides)
    if min(len(reference), len(current)) < FEW_ROWS:
        print(f"too few calls: {len(reference)} before, {len(current)} after the change", file=sys.stderr)
        return TOO_FEW
    made = _compared(reference, current)
    for save, ending in ((made.save_json, ".json"), (made.save_html, ".html")):
        unfinished = out.with_name(f"{out.name}{ending}.unfinished")
        save(str(unfinished))
        if ending == ".html":
            _titled(unfinished, job.title)
        os.replace(unfinished, out.with_name(out.name + ending))
    return 0


def _compared(reference: list[dict[str, Any]], current: list[dict[str, Any]]) -> Any:
    """The report, with the texts where evidently can compare them (texts without a telling word it cannot)."""
    import pandas
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset, DataSummaryPreset

    reference, current = ([harmless(row) for row in side] for side in (reference, current))
    numbers, texts = usable(reference, current)
    for chosen in dict.fromkeys((tuple(texts), tuple(texts[:1]), ())):
        definition = DataDefinition(numerical_columns=numbers, text_columns=list(chosen))
        sides = [
            Dataset.from_pandas(_frame(pandas, rows, numbers, list(chosen)), data_definition=definition)
            for rows in (current, reference)
        ]
        try:
            return Report([DataDriftPreset(), DataSummaryPreset()]).run(current_data=sides[0], reference_data=sides[1])
        except ValueError as error:
            if not chosen:
                raise
            print(f"without {', '.join(chosen)}: {type(error).__name__}", file=sys.stderr)
    raise AssertionError("the last attempt returns or raises")


def _frame(pandas: Any, rows: list[dict[str, Any]], numbers: list[str], texts: list[str]) -> Any:
    frame = pandas.DataFrame([{name: row.get(name) for name in (*numbers, *texts)} for row in rows])
    for name in numbers:
        frame[name] = frame[name].astype(float)
    for name in texts:
        frame[name] = frame[name].fillna("").astype(str)
    return frame


def _titled(page: Path, title: str) -> None:
    """The alarm's name on the page; the page stays self-contained."""
    from html import escape

    text = page.read_text(encoding="utf-8")
    heading = f"<body><h2 style='font-family:sans-serif;margin:1rem 2rem'>{escape(title)}</h2>"
    page.write_text(text.replace("<body>", heading, 1), encoding="utf-8")


def _stand_back() -> None:
    """Leave the processor to the others; where the kernel schedules sessions as groups, for the whole group too."""
    os.nice(NICE)
    try:
        Path("/proc/self/autogroup").write_text(str(NICE))
    except OSError:
        pass  # no such groups here


def main() -> None:
    """Entry point of the subprocess. What it says is logged, so it quotes no error's message: texts may be in it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--job", type=Path, required=True)
    job = parser.parse_args().job
    _stand_back()
    try:
        code = build(msgspec.json.decode(job.read_bytes(), type=Job))
    except Exception as error:
        print(*traceback.format_tb(error.__traceback__), type(error).__name__, sep="", file=sys.stderr)
        code = 1
    raise SystemExit(code)


if __name__ == "__main__":
    main()
