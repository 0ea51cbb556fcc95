"""``tidemill quantize``: a model in 8-bit integers, kept only where it answers alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tidemill.cli import context
from tidemill.cli.merge import Out, Prompts, say


def quantize(
    pipeline: Annotated[str, typer.Argument(help="A pipeline of the settings.")],
    out: Out,
    model: Annotated[Path | None, typer.Option(help="Model folder; without it the pipeline's base.")] = None,
    prompts: Prompts = None,
    min_equal: Annotated[float, typer.Option(help="Least share of equal answers.", min=0, max=1)] = 0.95,
) -> None:
    """Make an int8 (W8A8) version of a model, which vLLM serves with --dtype bfloat16.

    Needs its own environment: deploy/setup.py --quantize.

    Example: tidemill quantize schedule --out models/schedule-int8
    """
    from retrain import places
    from retrain.derived import derived
    from retrain.derived.quantize import quantize as quantized
    from tidemill.local.places import quantize_python

    settings = context.settings()
    context.needs_pipeline(settings, pipeline)
    asked = derived.prompts_for(settings, pipeline, prompts)
    chosen = settings.pipelines[pipeline]
    source = model.absolute() if model else places.base_dir(settings, pipeline)
    threads, most, python = chosen.retrain.threads, chosen.max_tokens, quantize_python()
    say(out, quantized(source, out.absolute(), asked, python=python, least=min_equal, max_tokens=most, threads=threads))
