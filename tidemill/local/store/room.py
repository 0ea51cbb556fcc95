"""What a full disk means: no rows are taken, and the store starts again, so that every part is looked at.

A write that meets a full disk can leave a part without the content of a file, and chDB tells nobody. At its start it
finds such parts by their files' sizes.

- An insert is refused while there is next to no room, and one that ends with next to none is not acknowledged: the
  store starts again at once, and until then nothing is answered, for chDB would count rows that are not on disk.
- A merge's broken part is set aside at a start, and those are taken again that it was made of; but these are kept for
  eight minutes only. So the store starts again as soon as there is room, or after LATEST_S.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.local.store.faults import NOT_ENOUGH_SPACE, TORN, refusal

ENOUGH_BYTES = 64 << 20
ENOUGH_SHARE = 0.05
"""Room is so much of the disk, or ENOUGH_BYTES where that is less; next to none is half of it."""
LATEST_S = 240.0
_LOOK_S = 0.5


class Room:
    """Told that the disk was full, it calls ``again`` with the reason once there is room, or after LATEST_S."""

    def __init__(self, path: Path, again: Callable[[str], None]) -> None:
        self._path, self._again = path, again
        self._lock = threading.Lock()
        self._waiting = False

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Around the writing of rows. Raises StoreFault where there is next to no room before it or after it."""
        if not self._there(share=0.5):
            raise refusal(NOT_ENOUGH_SPACE, "The disk is full: free some space, the rows were not taken")
        yield
        if not self._there(share=0.5):
            raise refusal(NOT_ENOUGH_SPACE, f"The disk filled up meanwhile: {TORN}")

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

    def _there(self, share: float = 1.0) -> bool:
        disk = shutil.disk_usage(self._path)
        return disk.free >= share * min(ENOUGH_BYTES, ENOUGH_SHARE * disk.total)
