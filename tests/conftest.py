"""Properties draw the same examples each run; HYPOTHESIS_PROFILE=explore draws many new ones."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("tests", derandomize=True, deadline=None, max_examples=40)
settings.register_profile("explore", deadline=None, max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "tests"))
