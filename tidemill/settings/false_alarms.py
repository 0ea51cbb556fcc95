"""How a false-alarm budget is written: ``1 per N clock updates``."""

from __future__ import annotations

import re

LEAST_UPDATES = 100
EXAMPLE = "1 per 604_800 clock updates"


def updates(said: str) -> int:
    """N of ``1 per N``; 0 where that is not what is said."""
    found = re.fullmatch(r"1 per (\d[\d_,]*)( clock updates?)?", said.strip())
    return int(found[1].replace("_", "").replace(",", "")) if found else 0
