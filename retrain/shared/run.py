"""Makes both arrangements for a set of pipelines from the same rows, and lets both answer the same questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from retrain.alone import Report, run_alone
from retrain.datasets.rows import Row
from retrain.shared.figures import ARRANGEMENTS, Arrangement, Compared, Serving, Training
from retrain.shared.serve import weights_mb
from tidemill.errors import Stop

KINDS: Mapping[Arrangement, str] = {"shared": "sft", "separate": "full"}
SLOWER = 0.1
"""The learning rate of a whole model, as a share of an adapter's."""
LEAST_ROWS = 4


class Pipeline(Struct, frozen=True, kw_only=True):
    """What one pipeline brings: rows to train on and to be judged by, and how its trainings are told."""

    name: str
    train: Sequence[Row]
    test: Sequence[Row]
    metric: str
    max_tokens: int
    training: dict[str, Any]
    """Of a training's spec: steps, rank, lr …"""


def compare(
    pipelines: Sequence[Pipeline],
    base: Path,
    scratch: Path,
    report: Report,
    *,
    usd_per_cpu_hour: float | None = None,
    threads: int = 1,
) -> Compared:
    """Both arrangements, trained and served below ``scratch``. Blocks for minutes. Raises Stop.

    Adapters and models are trained on the same rows by the same number of steps; a whole model with a tenth of the
    learning rate.
    """
    for each in pipelines:
        if min(len(each.train), len(each.test)) < LEAST_ROWS:
            counts = f"{len(each.train)} rows to train on and {len(each.test)} to be judged by"
            raise Stop(f"pipeline {each.name!r} has {counts}; give at least {LEAST_ROWS} of both (--rows)")
    files = {each.name: _written(scratch / f"{each.name}-test.jsonl", each.test) for each in pipelines}
    training: dict[Arrangement, dict[str, Training]] = {"shared": {}, "separate": {}}
    serving: dict[Arrangement, Serving] = {}
    for arrangement in ARRANGEMENTS:
        parts = {each.name: scratch / arrangement / each.name for each in pipelines}
        for each in pipelines:
            report({"note": f"training {each.name}: {arrangement}"})
            made = _train(each, arrangement, base, parts[each.name], scratch, report)
            training[arrangement][each.name] = made
        spec = {
            "arrangement": arrangement,
            "base": str(base),
            "parts": {name: str(folder) for name, folder in parts.items()},
            "tests": files,
            "metrics": {each.name: each.metric for each in pipelines},
            "max_tokens": {each.name: each.max_tokens for each in pipelines},
            "threads": threads,
        }
        folder = scratch / f"serve-{arrangement}"
        run_alone("retrain.shared.serve", spec, folder, report)
        serving[arrangement] = msgspec.json.decode((folder / "result.json").read_bytes(), type=Serving)
    return Compared(serving=serving, training=training, usd_per_cpu_hour=usd_per_cpu_hour)


def _train(
    pipeline: Pipeline, arrangement: Arrangement, base: Path, out: Path, scratch: Path, report: Report
) -> Training:
    rows = _written(scratch / f"{pipeline.name}-train.jsonl", pipeline.train)
    told = pipeline.training | {"base": str(base), "dataset": rows, "out": str(out), "kind": KINDS[arrangement]}
    if arrangement == "separate":
        told["lr"] = told["lr"] * SLOWER
    out.parent.mkdir(exist_ok=True)
    run_alone("retrain.train.run", told, scratch / f"train-{arrangement}-{pipeline.name}", report)
    result = msgspec.json.decode((out / "result.json").read_bytes())
    if "refused" in result:
        raise Stop(f"pipeline {pipeline.name!r}: {result['refused']}")
    return Training(cpu_s=result["cpu_seconds"], rows=result["rows"], version_mb=weights_mb(out))


def _written(file: Path, rows: Sequence[Row]) -> str:
    file.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return str(file)
