"""A page of long runs is not overwritten by a short one, or by one without the texts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import drift, drift_corpus, turn
from benchmarks.frame import DOCS
from tidemill.cli.bench import BENCHES, bench
from tidemill.errors import Stop

MADE = re.search(r"^BENCHES := (.*)$", (DOCS.parent / "Makefile").read_text(), re.MULTILINE)
LONG = ("drift", "turn")


@pytest.fixture(autouse=True)
def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*, long: bool) -> None:
        raise AssertionError(f"measured, long: {long}")

    for module in (drift, turn):
        monkeypatch.setattr(module, "measure", measure)


@pytest.mark.parametrize("name", LONG)
def test_a_short_run_is_refused_the_page_before_anything_is_measured(name: str) -> None:
    with pytest.raises(Stop, match=f"replace what the page of {name} shows by less: give --long, or leave --page out"):
        bench(name, page=True)
    with pytest.raises(AssertionError, match="measured, long: False"):
        bench(name)


@pytest.mark.parametrize("name", LONG)
def test_a_long_run_needs_the_texts_for_the_page(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(drift_corpus, "DATA", tmp_path)
    with pytest.raises(Stop, match=r"give .*banking77_train.csv \(BANKING77_DIR names another folder\), or leave"):
        bench(name, page=True, long=True)
    (tmp_path / "banking77_train.csv").touch()
    with pytest.raises(AssertionError, match="measured, long: True"):
        bench(name, page=True, long=True)


def test_make_bench_runs_every_benchmark_those_of_long_pages_with_long() -> None:
    assert MADE is not None
    wanted = [f'"{name} --long"' if name in LONG else name for name in BENCHES]
    assert MADE.group(1) == " ".join(wanted)
