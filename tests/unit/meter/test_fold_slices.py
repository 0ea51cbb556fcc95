"""Slices of a range: whose events count in which, without versions and histograms, and never more than are bounded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streams.meter.batch import Batch, Reader, Span
from streams.meter.fold import Rules, fold
from streams.meter.slices import MAX_VALUES
from tests.unit.meter.test_fold import feedback, request, response
from tidemill.events import Partial, SliceCell
from tidemill.topics import RESPONSES

RULES = {"p": Rules(slices=("tenant", "attributes.language"))}


def folded(events: Sequence[Any], rules: dict[str, Rules] = RULES) -> Partial:
    batch = Batch(range(len(events)), np.array([event.time_ms for event in events], np.int64), events)
    (partial,) = fold(Span("t", 0, 0, len(events)), batch, rules)
    return partial


def named(partial: Partial) -> dict[str, SliceCell]:
    return {cell.slice: cell for cell in partial.slices}


def test_a_call_counts_once_in_each_dimension() -> None:
    found = named(folded([request(tenant="acme", attributes={"language": "de", "team": "x"}), request(tenant="acme")]))
    assert {name: cell.requests for name, cell in found.items()} == {
        "tenant=acme": 2,
        "attributes.language=de": 1,
        "attributes.language=": 1,
    }


def test_answers_of_all_versions_are_together_and_shadows_left_out() -> None:
    events = [
        response(tenant="acme", model_version="schedule-v1", e2e_ms=4.0, cost_micros=5),
        response(
            tenant="acme", model_version="schedule-v2", variant="canary", e2e_ms=6.0, cost_micros=7, status="error"
        ),
        response(tenant="acme", model_version="schedule-v3", variant="shadow", role="shadow", cost_micros=900),
    ]
    cell = named(folded(events))["tenant=acme"]
    assert (cell.answers, cell.cost_micros, cell.outcomes) == (2, 12, {"error": 1, "ok": 1})
    assert (cell.moments["e2e_ms"].n, cell.moments["e2e_ms"].total) == (2, 10.0)
    assert cell.histograms == {} and cell.model_version == ""


def test_scores_count_in_the_slices_that_they_say_and_shadows_in_none() -> None:
    acme = {"tenant": "acme", "attributes.language": "de", "attributes.team": "x"}
    rules = {"p": RULES["p"]._replace(quality_metric="exact_match")}
    found = folded(
        [
            feedback(1, slices=acme, score=1.0),
            feedback(2, slices={"tenant": "acme"}, score=0.5),
            feedback(3, slices=acme, kind="thumb", metric="thumb", score=0.0),
            feedback(4, slices=acme, variant="shadow", score=0.0),
            feedback(5, score=0.0),
        ],
        rules,
    )
    sums = {cell.slice: {m: (s.n, s.total) for m, s in cell.moments.items()} for cell in found.slices}
    assert sums == {
        "tenant=acme": {"quality": (2, 1.5), "thumb": (1, 0.0)},
        "attributes.language=de": {"quality": (1, 1.0), "thumb": (1, 0.0)},
    }
    assert [(p.feedback_id, p.slices) for p in found.scores][:2] == [
        ("f1", ("tenant=acme", "attributes.language=de")),
        ("f2", ("tenant=acme",)),
    ]
    assert found.scores[-1].slices == ()
    (whole,) = (cell for cell in found.cells if cell.role == "client")
    assert whole.moments["quality"].n == 3


def test_without_slices_a_partial_has_none() -> None:
    assert folded([request(tenant="acme")], {"p": Rules()}).slices == ()
    assert folded([request(tenant="acme", pipeline="unknown")]).slices == ()
    bare = folded([feedback(slices={"tenant": "acme"})], {"p": Rules("exact_match")})
    assert (bare.slices, bare.scores[0].slices) == ((), ())


def test_the_values_with_most_events_have_cells_and_the_rest_one_together() -> None:
    few = [request(tenant=f"t{n:03}") for n in range(MAX_VALUES + 5)]
    found = [cell for cell in folded([*few, request(tenant="t260")]).slices if cell.slice.startswith("tenant=")]
    names = {cell.slice: cell.requests for cell in found}
    assert len(names) == MAX_VALUES + 1
    assert names["tenant=t260"] == 2 and names["tenant=other"] == 5
    assert "tenant=t000" in names and "tenant=t259" not in names, "ties by name"


def test_long_values_are_cut(monkeypatch: Any) -> None:
    monkeypatch.setattr("tidemill.slices.MAX_NAME", 15)
    assert "tenant=12345678" in named(folded([request(tenant="123456789")]))


def test_a_reader_keeps_the_dimensions_as_columns() -> None:
    batch = Reader(RESPONSES, 5000, {"tenant", "attributes.language"}).read([])
    assert {"tenant", "attributes.language"} <= set(batch.columns)
    assert not {"tenant", "attributes.language"} & set(Reader(RESPONSES, 5000).read([]).columns)
