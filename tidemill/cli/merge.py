"""``tidemill merge``: a version's adapter in its base, kept only where it answers alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tidemill.cli import context

Out = Annotated[Path, typer.Option(help="Folder of the model to make; it must not be there yet.")]
Prompts = Annotated[
    Path | None, typer.Option(help="JSON Lines file of rows to compare answers by; without it the golden set.")
]


def merge(
    version: Annotated[str, typer.Argument(help="<pipeline>-v<N>, a version that is an adapter.")],
    out: Out,
    prompts: Prompts = None,
    min_equal: Annotated[float, typer.Option(help="Least share of equal answers.", min=0, max=1)] = 0.98,
) -> None:
    """Merge a version's adapter into its base: one model, for a champion that stays.

    Example: tidemill merge schedule-v7 --out models/schedule-7
    """
    from retrain import places
    from retrain.derived import derived
    from retrain.derived.merge import merge as merged

    settings = context.settings()
    pipeline, adapter = derived.adapter_of(settings, version)
    asked = derived.prompts_for(settings, pipeline, prompts)
    chosen = settings.pipelines[pipeline]
    base = places.base_dir(settings, pipeline)
    threads, most = chosen.retrain.threads, chosen.max_tokens
    say(out, merged(base, adapter, out.absolute(), asked, least=min_equal, max_tokens=most, threads=threads))


def say(out: Path, facts: dict[str, Any]) -> None:
    """What was made, on standard output."""
    typer.echo(
        f"{out}: {facts['equal']} of {facts['asked']} answers are the same as before; digest {facts['digest'][:12]}"
    )
