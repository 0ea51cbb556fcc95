"""Where the embedded stack finds what set-up put beside the code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from tidemill.io.checkout import project_root

JARS_VARIABLE = "TIDEMILL_JARS"
ENGINE_PYTHON_VARIABLE = "TIDEMILL_ENGINE_PYTHON"
QUANTIZE_PYTHON_VARIABLE = "TIDEMILL_QUANTIZE_PYTHON"


def jars_root(environ: Mapping[str, str] = os.environ) -> Path:
    """Folder of the broker's jars: $TIDEMILL_JARS, else ``.jars`` in the project."""
    return Path(environ.get(JARS_VARIABLE) or project_root() / ".jars")


def engine_python(environ: Mapping[str, str] = os.environ) -> Path:
    """Python of the engine's environment: $TIDEMILL_ENGINE_PYTHON, else ``.venv-engine`` in the project."""
    return Path(environ.get(ENGINE_PYTHON_VARIABLE) or project_root() / ".venv-engine" / "bin" / "python")


def quantize_python(environ: Mapping[str, str] = os.environ) -> Path:
    """Python of llm-compressor's environment: $TIDEMILL_QUANTIZE_PYTHON, else ``.venv-quantize`` in the project."""
    return Path(environ.get(QUANTIZE_PYTHON_VARIABLE) or project_root() / ".venv-quantize" / "bin" / "python")
