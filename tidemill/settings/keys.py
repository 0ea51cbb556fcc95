"""The keys of upstreams, from the environment variables that the settings name."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from tidemill.errors import Stop
from tidemill.settings.model import EngineSettings

_SENDABLE = re.compile(r"[!-~]*")
"""Visible ASCII. Of anything else a client's error would show the header, and with it the key."""


def engine_key(engine: EngineSettings, name: str, environ: Mapping[str, str] = os.environ) -> str:
    """The key of engine ``name``; empty where the settings name none, or it is not set.

    Raises Stop, without the key, where it cannot be sent.
    """
    key = environ.get(engine.api_key_env, "").strip() if engine.api_key_env else ""
    if not _SENDABLE.fullmatch(key):
        raise Stop(
            f"engines.{name}.api_key_env names {engine.api_key_env}, which holds blanks, line breaks or letters that "
            "no header can carry; export the upstream's key alone"
        )
    return key
