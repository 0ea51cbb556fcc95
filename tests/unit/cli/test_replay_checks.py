"""A replay says what is wrong with its file, its name or the stack before it opens anything."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tidemill.cli import context
from tidemill.cli.replay import replay
from tidemill.errors import Stop


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    settings = tmp_path / "tidemill.yaml"
    settings.write_text("data_dir: data\n")
    monkeypatch.setattr(context, "_file", settings)
    monkeypatch.delenv("TIDEMILL_DATA_DIR", raising=False)
    file = tmp_path / "texts.csv"
    file.write_text("text,label\nhello,a\n")
    return file


def test_a_wrong_column_comes_first(texts: Path) -> None:
    with pytest.raises(Stop, match=r"no column 'question' .* see --text-column"):
        replay(texts, text_column="question")


def test_a_name_that_no_event_can_hold_is_refused(texts: Path) -> None:
    with pytest.raises(Stop, match="1 to 256 characters"):
        replay(texts, pipeline="p" * 257)


def test_without_a_stack_nothing_is_sent(texts: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(Stop, match=r"no stack is running on .*/data; start one with `tidemill up`"):
        replay(texts)
    assert signal.getsignal(signal.SIGINT) is before
