"""Messages that are no valid event, made from one that is: each way to get it wrong, each time other bytes."""

from __future__ import annotations

import random
from collections.abc import Callable

LARGE_BYTES = 900_000


def poison(good: bytes, number: int, noise: random.Random) -> bytes | None:
    """The ``number``-th malformed message: broken JSON, wrong types, missing or null fields, an unknown schema, no
    UTF-8, a value out of bounds, a tombstone; now and then a large one.
    """
    mark = f"{number:08d}".encode()
    ways: tuple[Callable[[], bytes | None], ...] = (
        lambda: b'{"bad json": ' + mark,
        lambda: good.replace(b'"time_ms":', b'"time_ms":"' + mark + b'","then":', 1),
        lambda: b'{"schema":1,"call_id":"' + mark + b'"}',
        lambda: good.replace(b'"schema":1', b'"schema":9,"mark":' + mark.lstrip(b"0").rjust(1, b"0"), 1),
        lambda: good.replace(b'"pipeline":"', b'"pipeline":null,"was":"' + mark, 1),
        lambda: b"\xff\xfe" + mark + noise.randbytes(20),
        lambda: good.replace(b'"time_ms":', b'"time_ms":-1' + mark + b',"then":', 1),
        lambda: None,
    )
    if number % 150 == 149:
        return mark + b"x" * LARGE_BYTES
    return ways[number % len(ways)]()
