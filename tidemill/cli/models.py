"""``tidemill models``: the demo's base model and first champions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from tidemill.cli import context


def models() -> None:
    """Train the demo's base model and first champions, or take them from the cache; minutes the first time.

    Example: tidemill models
    """
    from tidemill.local.demo.place import place_models

    def tell(name: str, facts: Mapping[str, Any]) -> None:
        if facts.get("cached") or facts.get("done"):
            typer.echo(f"{name}: {'kept from before' if facts.get('cached') else 'trained'}")
        elif "step" in facts and facts["step"] % 100 == 0:
            typer.echo(f"{name}: step {facts['step']} of {facts.get('of', '?')}")

    place_models(context.settings(), tell)
