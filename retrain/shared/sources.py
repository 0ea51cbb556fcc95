"""Where a comparison's rows come from: a pipeline's newest data set, or a file of rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from retrain import places
from retrain.controller.works import training
from retrain.datasets.rows import Row, fraction
from retrain.datasets.snapshots import known
from retrain.shared.run import Pipeline
from retrain.snapshot import golden, read_rows
from retrain.work import Refused
from tidemill.errors import Stop
from tidemill.settings import Settings

HELD_OUT = 0.2
"""Share of a file's rows that are asked, and not trained on."""
QUICK_STEPS, QUICK_ROWS = 10, 12


def pipelines_of(settings: Settings, names: Sequence[str], files: Mapping[str, Path], *, quick: bool) -> list[Pipeline]:
    """The pipelines to compare, by their own settings. ``quick``: few steps and questions, to see that it works.

    Raises Stop where one has no rows, or another base than the first.
    """
    first = places.base_dir(settings, names[0])
    for name in names[1:]:
        if (other := places.base_dir(settings, name)).resolve() != first.resolve():
            raise Stop(
                f"pipelines {names[0]!r} and {name!r} have other bases ({first}, {other}); nothing can be shared"
            )
    return [_pipeline(settings, name, files.get(name), quick) for name in names]


def _pipeline(settings: Settings, name: str, file: Path | None, quick: bool) -> Pipeline:
    chosen = settings.pipelines[name]
    train, test = _from_file(file) if file is not None else _from_data_set(settings, name)
    told = training(chosen.retrain) | {"sweep": {}, "keep_weight": 0.0}
    if quick:
        told["steps"] = min(QUICK_STEPS, told["steps"])
        test = test[:QUICK_ROWS]
    return Pipeline(
        name=name,
        train=train,
        test=test,
        metric=chosen.quality.metric,
        max_tokens=chosen.max_tokens,
        training=told,
    )


def _from_file(file: Path) -> tuple[list[Row], list[Row]]:
    try:
        rows = read_rows(file)
    except Refused as error:
        raise Stop(str(error)) from error
    asked = [row for row in rows if fraction("holdout", row.prompt) < HELD_OUT]
    return [row for row in rows if fraction("holdout", row.prompt) >= HELD_OUT], asked


def _from_data_set(settings: Settings, name: str) -> tuple[list[Row], list[Row]]:
    """The newest data set's rows with an answer to learn; asked are those that a gate judged by, and the golden set."""
    newest = next((each for each in known(settings) if each.manifest.get("pipeline") == name), None)
    if newest is None:
        raise Stop(
            f"pipeline {name!r} has no data set yet; a job makes one (`tidemill train {name}`), or give rows of prompt "
            f"and completion: --rows {name}=FILE.jsonl"
        )
    try:
        answered = [row for row in newest.rows("train") if row.completion and row.liked is not False]
        return answered, [*newest.rows("verified"), *golden(settings, name)]
    except Refused as error:
        raise Stop(str(error)) from error
