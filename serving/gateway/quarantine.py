"""Records of the spool that cannot go out: kept beside it, counted and said, so that they hold up nothing."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from prometheus_client import Counter

log = logging.getLogger(__name__)
FOLDER = "quarantine"
SET_ASIDE = Counter(
    "tidemill_gateway_set_aside", "Pieces of the local file that could not go to Kafka and are kept in quarantine."
)


def set_aside(spool_folder: Path, data: bytes, reason: str) -> Path:
    """Keep ``data`` in the spool's folder ``quarantine`` under a name made of it and the reason; give back the file.

    Safe to repeat: the same piece is one file, counted and logged once. Raises OSError where the disk takes no more.
    """
    folder = spool_folder / FOLDER
    folder.mkdir(exist_ok=True, mode=0o700)
    file = folder / f"{hashlib.sha256(reason.encode() + data).hexdigest()[:32]}.bin"
    if not file.exists():
        fresh = file.with_suffix(".new")
        fresh.write_bytes(data)
        fresh.chmod(0o600)
        fresh.replace(file)
        SET_ASIDE.inc()
        log.error("%d bytes of the spool are set aside in %s: %s", len(data), file, reason)
    return file
