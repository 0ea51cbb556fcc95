"""The gate's report says all that was checked, what was not, and escapes every word."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec.structs import replace

from retrain import places
from retrain.controller import works
from retrain.gate import gate
from retrain.gate.report import not_measured, page, report
from retrain.register import RegisterSpec
from retrain.whole import write_json
from tests.unit.retrain.made import NOW, collecting, pipeline
from tidemill.events import Verdict
from tidemill.settings import Settings
from tidemill.settings.model import EngineSettings

SETTINGS = pipeline()
HOSTILE = "<script>alert(1)</script>"


def judged(*more: Verdict):  # type: ignore[no-untyped-def]
    paired = {"verified": [(1.0, 0.0)] * 40, "golden": [(1.0, 1.0)] * 300}
    verdicts = (*gate.scored(paired, SETTINGS.gate, NOW), *more)
    job = collecting(phase="gating", verdicts=verdicts, scores=gate.scores(paired), data_digest="d" * 64)
    return replace(job, data_counts={"train": 300}, figures={"train_loss": 0.1})


def test_all_that_was_checked_and_what_was_not() -> None:
    parity = gate.parity(24, 24, SETTINGS.gate, NOW)
    made = report(judged(parity), SETTINGS.gate, ["tenant 'x' left out"])
    assert (made["outcome"], made["reason"]) == ("pass", "every check passed")
    assert [each["check"] for each in made["checks"]] == ["verified_quality", "verified_gain", "golden_loss", "parity"]
    assert set(made["not_measured"]) == {"calibration", "latency", "cost"}
    assert set(not_measured(judged(), SETTINGS.gate)) == {"calibration", "parity", "latency", "cost"}
    shown = page(made)
    for word in ("the gate says pass", "golden_loss", "not measured", "tenant &#x27;x&#x27; left out", "d" * 64):
        assert word in shown


def test_hostile_words_stay_words() -> None:
    failed = Verdict(check="parity", outcome="fail", reason=HOSTILE)
    shown = page(report(judged(failed), SETTINGS.gate, [HOSTILE]))
    assert "<script" not in shown and shown.count("&lt;script&gt;") == 3


def test_the_register_work_is_given_the_report(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, engines={"local": EngineSettings()}, pipelines={"schedule": SETTINGS})
    job = judged(gate.parity(24, 0, SETTINGS.gate, NOW))
    folder = places.data_dir(settings, job.job_id)
    folder.mkdir(parents=True)
    write_json(folder / places.MANIFEST_FILE, {"notes": ["a note"]})
    spec = msgspec.convert(works.work(settings, job, "register", []).spec, RegisterSpec)
    assert (spec.report["outcome"], spec.report["data_notes"], spec.accepted) == ("fail", ["a note"], False)
    assert spec.tags["tidemill.gate"] == "fail"
