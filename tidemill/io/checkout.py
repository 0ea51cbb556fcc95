"""Where set-up puts what runs beside the roles."""

from __future__ import annotations

import os
from pathlib import Path

import tidemill


def project_root() -> Path:
    """The checkout this package runs from, or the user's cache folder where there is none."""
    root = Path(tidemill.__file__).resolve().parents[1]
    if (root / "pyproject.toml").is_file():
        return root
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tidemill"
