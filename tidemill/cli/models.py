"""``tidemill models``: the demo's base model and first champions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer
from rich.console import Console

from tidemill.cli import context


def models() -> None:
    """Train the demo's base model and first champions, or take them from the cache; minutes the first time.

    Example: tidemill models
    """
    from tidemill.cli.models_made import models_shown
    from tidemill.local.demo.place import place_models

    with models_shown(Console(highlight=False)) as show:

        def tell(name: str, facts: Mapping[str, Any]) -> None:
            if facts.get("cached"):
                typer.echo(f"model {name}: kept from before")
            show(name, facts)

        place_models(context.settings(), tell)
