"""Keys made by ``tidemill init``: kept in files only their owner can read, under ``<data_dir>/secrets``."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path

from tidemill.errors import Stop
from tidemill.ids import ROUTING_KEY_BYTES, new_routing_key
from tidemill.settings import Settings

ROUTING_KEY = "routing.key"
GATEWAY_KEYS = "gateway.keys"
GATEWAY_KEYS_VARIABLE = "TIDEMILL_GATEWAY_KEYS"
AUDIT_KEYS = "audit.keys"
AUDIT_KEYS_VARIABLE = "TIDEMILL_AUDIT_KEYS"


def make_secrets(settings: Settings) -> list[str]:
    """Make the missing keys; give back the names of those made. Never replaces one."""
    folder = settings.data_dir / "secrets"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = []
    for name, content in (
        (ROUTING_KEY, base64.b64encode(new_routing_key()).decode()),
        (GATEWAY_KEYS, f"tm-{secrets.token_urlsafe(32)}"),
        (AUDIT_KEYS, f"tma-{secrets.token_urlsafe(32)}"),
    ):
        try:
            handle = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            continue
        with os.fdopen(handle, "w") as file:
            file.write(content + "\n")
        made.append(name)
    return made


def routing_key(settings: Settings) -> bytes:
    """The key of routing tags, shared by all gateways. Raises Stop when it is missing or not a key."""
    file = settings.data_dir / "secrets" / ROUTING_KEY
    key = base64.b64decode(_read(file), validate=False)
    if len(key) != ROUTING_KEY_BYTES:
        raise Stop(f"{file}: not a routing key of {ROUTING_KEY_BYTES} bytes; restore it (a new one orphans old ids)")
    return key


def gateway_keys(settings: Settings) -> tuple[str, ...]:
    """API keys that clients may use: $TIDEMILL_GATEWAY_KEYS (comma-separated), else one a line in the file."""
    return _listed(settings, GATEWAY_KEYS, GATEWAY_KEYS_VARIABLE)


def audit_keys(settings: Settings) -> tuple[str, ...]:
    """API keys of those whose labels the gate believes: $TIDEMILL_AUDIT_KEYS, else one a line in the file."""
    return _listed(settings, AUDIT_KEYS, AUDIT_KEYS_VARIABLE)


def _listed(settings: Settings, name: str, variable: str) -> tuple[str, ...]:
    if listed := os.environ.get(variable):
        return tuple(key.strip() for key in listed.split(",") if key.strip())
    return tuple(line.strip() for line in _read(settings.data_dir / "secrets" / name).splitlines() if line.strip())


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise Stop(f"{file}: cannot be read ({error.strerror}); run `tidemill init`") from error
