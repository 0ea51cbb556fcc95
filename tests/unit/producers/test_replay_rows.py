"""Files to be replayed: both formats are read; what cannot be read is named with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from producers.replay.rows import Row, check_header, count_rows, read_rows
from tidemill.errors import Stop

TRACE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.9951690,396,109\n"
)


def rows(path: Path, kind: str = "azure", text: str = "text", label: str = "") -> list[Row]:
    return list(read_rows(path, kind, text_column=text, label_column=label, rate=10))  # type: ignore[arg-type]


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "file.csv"
    file.write_text(text)
    return file


def test_a_trace_keeps_its_gaps_and_tokens(tmp_path: Path) -> None:
    first, second = rows(write(tmp_path, TRACE))
    assert (first.after_ms, first.input_tokens, first.output_tokens) == (0.0, 374, 44)
    assert second.after_ms == pytest.approx(4314.579, abs=0.01)


def test_texts_come_at_the_chosen_rate_with_their_labels(tmp_path: Path) -> None:
    file = write(tmp_path, 'text,category\nwhere?,a\n"two\nlines",b\n')
    assert count_rows(file) == 2
    assert rows(file, "csv", label="category") == [
        Row(0.0, text="where?", label="a"),
        Row(100.0, text="two\nlines", label="b"),
    ]


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"no column 'text' \(there are: a, b\)"):
        rows(write(tmp_path, "a,b\n1,2\n"), "csv")
    with pytest.raises(Stop, match="a trace needs"):
        rows(write(tmp_path, "a,b\n1,2\n"))


def test_a_field_that_cannot_be_read_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(Stop, match=r"file\.csv:3: column 'ContextTokens' must be a whole number \(got 'many'\)"):
        rows(write(tmp_path, TRACE.replace("396", "many")))
    with pytest.raises(
        Stop, match=r"file\.csv:2: column 'TIMESTAMP' must be a time in UTC as .* \(got '2023-11-16 18:15"
    ):
        rows(write(tmp_path, TRACE.replace("46.6805900", "46.x")))
    with pytest.raises(Stop, match=r"file\.csv:4: column 'GeneratedTokens' must be a whole number \(got nothing\)"):
        rows(write(tmp_path, TRACE + "2023-11-16 18:15:51,7\n"))


def test_a_header_is_checked_before_any_row_is_sent(tmp_path: Path) -> None:
    file = write(tmp_path, "text,b\n1,2\n")
    check_header(file, "csv", text_column="text", label_column="b")
    with pytest.raises(Stop, match=r"no column 'label' .* see --label-column"):
        check_header(file, "csv", text_column="text", label_column="label")
    file.write_bytes(b"t\xe9xt\n")
    with pytest.raises(Stop, match="not UTF-8"):
        check_header(file, "csv", text_column="text", label_column="")
