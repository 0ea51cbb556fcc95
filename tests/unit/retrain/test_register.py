"""What of an alarm's evidence goes into its job's run."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from retrain.register import evidence_files
from tidemill.evidence import evidence_file, report_page
from tidemill.settings import PipelineSettings, RetrainSettings, Settings


@pytest.mark.parametrize(("capture", "kept"), [("full", 2), ("redacted", 2), ("off", 0)])
def test_the_evidence_that_there_is_goes_along_but_where_no_texts_are_kept(
    tmp_path: Path, capture: Literal["full", "redacted", "off"], kept: int
) -> None:
    settings = Settings(data_dir=tmp_path)
    settings.pipelines["p"] = PipelineSettings(
        engine="local", champion="p-v1", capture=capture, retrain=RetrainSettings(enabled=False)
    )
    assert evidence_files(settings, "p", "alarm-1") == [], "none was made: no failure"
    files = [evidence_file(tmp_path, "alarm-1"), report_page(tmp_path, "alarm-1")]
    files[0].parent.mkdir()
    for file in files:
        file.write_text("found")
    assert evidence_files(settings, "p", "alarm-1") == files[:kept]
    assert evidence_files(settings, "p", "") == [], "a job by hand"
