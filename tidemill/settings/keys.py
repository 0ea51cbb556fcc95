"""Keys: of upstreams, and of signed links, from where the settings say that they are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from tidemill.approval import LEAST_KEY_BYTES
from tidemill.errors import Stop
from tidemill.settings.model import EngineSettings, Settings

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


def approval_key(settings: Settings, environ: Mapping[str, str] = os.environ) -> bytes | None:
    """The key that approval links are signed with; None where the settings name none.

    Raises Stop, without the key, where it is not there or too short.
    """
    given = settings.approval
    if not (given.key_env or given.key_file):
        return None
    where = f"approval.key_env names {given.key_env}" if given.key_env else f"approval.key_file is {given.key_file}"
    try:
        text = environ.get(given.key_env, "") if given.key_env else settings.resolve(given.key_file).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{where}, which cannot be read: {type(error).__name__}") from error
    key = text.strip().encode()
    if len(key) < LEAST_KEY_BYTES:
        raise Stop(
            f"{where}, which holds no key of {LEAST_KEY_BYTES} characters or more; `openssl rand -hex 32` makes one"
        )
    return key
