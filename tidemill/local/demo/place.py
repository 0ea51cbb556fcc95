"""Puts the demo's models where the settings say they are: base, first champions, golden sets."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from producers.language import TextSource
from tidemill.io.checkout import project_root
from tidemill.io.modes import let_engines_through
from tidemill.local import corpus, statefile
from tidemill.local.models import Models, Report, prepare
from tidemill.settings import Settings

CACHE_VARIABLE = "TIDEMILL_MODELS"


def models_cache() -> Path:
    """Where made models are kept between runs: $TIDEMILL_MODELS, else ``.cache/models`` in the project."""
    return Path(os.environ.get(CACHE_VARIABLE) or project_root() / ".cache" / "models")


def place_models(settings: Settings, progress: Report, texts: TextSource | None = None) -> Models:
    """Make or fetch the models (minutes the first time) and link them into the data folder. Safe to repeat."""
    models = prepare(models_cache(), progress, texts)
    _link(settings.data_dir / "models" / "base", models.base_dir)
    for pipeline, folder in models.adapters.items():
        _link(settings.data_dir / "adapters" / f"{pipeline}-v1", folder)
        rows = ({"prompt": said.text, "completion": said.truth} for said in corpus.golden(pipeline, texts))
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (settings.data_dir / "models" / f"golden-{pipeline}.jsonl").write_text(text, encoding="utf-8")
    return models


def telling(settings: Settings, started_ms: int, progress: Report) -> Report:
    """``progress`` that other terminals see, too (``tidemill status``). For who holds the lock of the data folder."""

    def tell(what: str, facts: Mapping[str, Any]) -> None:
        step = f" (step {facts['step']} of {facts.get('of', '?')})" if "step" in facts else ""
        doing = f"making the demo's models: {what}{step}"
        statefile.write(settings.data_dir, (), port_base=settings.local.port_base, started_ms=started_ms, doing=doing)
        progress(what, facts)

    return tell


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    let_engines_through(link.parent)
    if link.is_symlink():
        link.unlink()
    link.symlink_to(target.resolve(), target_is_directory=True)
