"""What follows a full disk: the store starts again, so that every part is looked at.

A merge that meets a full disk can leave a part without the content of a file, and chDB tells nobody. At its start it
finds such parts by their files' sizes and takes those again that they were made of; but these are kept for eight
minutes only. So whether or not there is room by then, the store starts again before that.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

ENOUGH_BYTES = 64 << 20
ENOUGH_SHARE = 0.05
"""Room is so much of the disk, or ENOUGH_BYTES where that is less."""
LATEST_S = 240.0
_LOOK_S = 0.5


class Room:
    """Told that the disk was full, it calls ``again`` with the reason once there is room, or after LATEST_S."""

    def __init__(self, path: Path, again: Callable[[str], None]) -> None:
        self._path, self._again = path, again
        self._lock = threading.Lock()
        self._waiting = False

    def was_full(self) -> None:
        """The disk had no room. Never blocks."""
        with self._lock:
            if not self._waiting:
                self._waiting = True
                threading.Thread(target=self._wait, name="room", daemon=True).start()

    def _wait(self) -> None:
        begun_s = time.monotonic()
        while not self._there() and time.monotonic() - begun_s < LATEST_S:
            time.sleep(_LOOK_S)
        self._again("the disk was full, so a part may be damaged")

    def _there(self) -> bool:
        disk = shutil.disk_usage(self._path)
        return disk.free >= min(ENOUGH_BYTES, ENOUGH_SHARE * disk.total)
