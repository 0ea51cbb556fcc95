"""The demo's own data folder: a story begins from nothing, and touches nothing of a deployment beside it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tidemill.errors import Stop
from tidemill.local import statefile


@contextmanager
def own_folder(data_dir: Path) -> Iterator[Path]:
    """``<data_dir>/demo``, emptied at the beginning and left as it is at the end. Meanwhile no stack starts on
    ``data_dir``; raises Stop where one runs there.
    """
    lock = statefile.StackLock(data_dir)
    lock.take()
    try:
        folder = statefile.demo_dir(data_dir)
        try:
            if folder.exists():
                shutil.rmtree(folder)
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise Stop(f"{folder} cannot be emptied ({error.strerror}); move it with data_dir") from error
        yield folder
    finally:
        lock.free()
