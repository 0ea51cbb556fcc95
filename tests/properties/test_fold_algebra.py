"""Folding columns equals folding event by event; parts merged equal the whole; folding again gives the same bytes."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode

from streams.meter import slices
from streams.meter.batch import Batch, Span
from streams.meter.fold import Rules, fold
from streams.meter.pack import pack
from streams.windows.tally import Tally
from tests.properties.naive_fold import naive_fold
from tests.unit.sink.samples import full
from tidemill.events import Feedback, InferenceRequest, InferenceResponse, Partial, Partials
from tidemill.events.monitoring import Cell
from tidemill.topics import PARTIALS

DIMENSIONS = ("tenant", "input_language", "attributes.language")
RULES = {"p": Rules("exact_match", 1000, slices=DIMENSIONS), "q": Rules("thumb", 1000)}
SPAN = Span("t", 0, 0, 99)
START_MS = 1_763_800_000_000
quarters = st.integers(0, 4000).map(lambda n: n / 4)  # exact in binary, so that sums do not depend on order
times = st.integers(START_MS, START_MS + 3000)
calls = st.integers(0, 10**12 - 1).map(lambda n: f"0197c1de-0000-7000-8000-{n:012d}")
pipelines = st.sampled_from(["p", "q"])
tenants = st.sampled_from(["acme", "globex", ""])
languages = st.sampled_from(["en", "de", ""])
attributes = st.dictionaries(st.just("language"), st.sampled_from(["en", "de"]))
counts = st.none() | st.integers(0, 1000)

requests = st.builds(
    InferenceRequest,
    call_id=calls,
    time_ms=times,
    pipeline=pipelines,
    gen_ai_conversation_id=st.just("s"),
    input_features=st.dictionaries(
        st.sampled_from(["chars", "words", "digit_share", "context_chars", "embedding_1"]), quarters, max_size=3
    ),
    input_words=st.dictionaries(st.integers(0, 1023), st.integers(1, 9), max_size=3),
    input_language=languages,
    tenant=tenants,
    attributes=attributes,
)
responses = st.builds(
    InferenceResponse,
    call_id=calls,
    answer_id=calls,
    time_ms=times,
    call_time_ms=times,
    pipeline=pipelines,
    gen_ai_conversation_id=st.just("s"),
    model_version=st.sampled_from(["p-v1", "p-v2"]),
    variant=st.sampled_from(["champion", "canary", "shadow"]),
    role=st.sampled_from(["client", "shadow"]),
    status=st.sampled_from(["ok", "error", "timeout"]),
    gen_ai_response_finish_reason=st.sampled_from(["", "stop", "length", "tool_calls"]),
    gen_ai_usage_input_tokens=counts,
    gen_ai_usage_output_tokens=counts,
    ttft_ms=st.none() | quarters,
    e2e_ms=st.none() | quarters,
    cost_micros=counts,
    output_features=st.dictionaries(st.sampled_from(["chars", "words", "empty", "valid"]), quarters, max_size=2),
    tenant=tenants,
    input_language=languages,
    attributes=attributes,
)
judgements = st.builds(
    Feedback,
    feedback_id=calls,
    call_id=calls,
    time_ms=times,
    call_time_ms=times,
    pipeline=pipelines,
    model_version=st.sampled_from(["p-v1", "p-v2"]),
    kind=st.just("score"),
    source=st.just("scorer"),
    metric=st.sampled_from(["exact_match", "thumb", "other"]),
    score=st.none() | st.sampled_from([0.0, 0.5, 1.0]),
)
streams = st.lists(requests, max_size=15) | st.lists(responses, max_size=15) | st.lists(judgements, max_size=15)


def batch(events: list[Any], start: int = 0) -> Batch:
    return Batch(range(start, start + len(events)), np.array([e.time_ms for e in events], np.int64), events)


def tallies(cells: tuple[Cell, ...]) -> dict[tuple[int, str, str, str], Tally]:
    found: dict[tuple[int, str, str, str], Tally] = {}
    for cell in cells:
        found.setdefault((cell.second, cell.model_version, cell.variant, cell.role), Tally()).add(cell)
    return found


def sliced(*partials: Partial) -> dict[tuple[int, str], Tally]:
    found: dict[tuple[int, str], Tally] = {}
    for cell in (cell for partial in partials for cell in partial.slices):
        found.setdefault((cell.second, cell.slice), Tally()).add(cell)
    return found


def folded(events: list[Any], rules: dict[str, Rules] = RULES) -> dict[str, Partial]:
    return {partial.pipeline: partial for partial in fold(SPAN, batch(events), rules)}


def packed(events: list[Any], max_bytes: int = 700_000) -> dict[str, list[Partial]]:
    found: dict[str, list[Partial]] = {}
    for one in pack(SPAN, batch(events), RULES, 2, max_bytes=max_bytes):
        for partial in decode(one.value, type=Partials).partials:
            found.setdefault(partial.pipeline, []).append(partial)
    return found


@given(st.text(min_size=240, max_size=300), st.text(min_size=240, max_size=300))
def test_stage_two_takes_whatever_names_calls_have(tenant: str, plan: str) -> None:
    """One that it refuses would take all other pipelines' figures with it."""
    calls = {"tenant": tenant, "attributes": {"plan": plan}}
    asked = msgspec.structs.replace(full(InferenceRequest), **calls)
    said = msgspec.structs.replace(full(InferenceResponse), role="client", model_version=plan, **calls)
    rules = {asked.pipeline: Rules(slices=("tenant", "attributes.plan"))}
    for event in (asked, said):
        for one in pack(SPAN, batch([event]), rules, 2):
            (partial,) = PARTIALS.decoder()(one.value).partials
            assert {cell.slice.partition("=")[0] for cell in partial.slices} == {"tenant", "attributes.plan"}


@given(streams, st.integers(0, 5))
def test_columns_give_what_event_by_event_gives(events: list[Any], most: int) -> None:
    rules = {name: rule._replace(samples_per_second=most) for name, rule in RULES.items()}
    found = folded(events, rules)
    for pipeline in RULES:
        wanted = naive_fold(batch(events), pipeline, rules[pipeline])
        assert (found[pipeline].cells if pipeline in found else ()) == wanted


@given(streams, st.sampled_from([1, 256]))
def test_the_slices_of_a_dimension_add_up_to_the_clients_calls_and_answers(events: list[Any], most: int) -> None:
    with patch.object(slices, "MAX_VALUES", most):
        found = folded(events)
    for pipeline, partial in found.items():
        whole = by_second(cell for cell in partial.cells if cell.role == "client")
        for dimension in DIMENSIONS if pipeline == "p" and not isinstance(events[0], Feedback) else ():
            mine = [cell for cell in partial.slices if cell.slice.startswith(f"{dimension}=")]
            assert by_second(mine) == whole
            assert len({cell.slice for cell in mine if cell.second == mine[0].second}) <= most + 1
        assert pipeline == "p" or partial.slices == ()


def by_second(cells: Iterable[Cell]) -> dict[int, Tally]:
    """Merged, without what slices do not have."""
    found: dict[int, Tally] = {}
    for cell in cells:
        tally = found.setdefault(cell.second, Tally())
        tally.add(cell)
        tally.histograms, tally.words, tally.languages, tally.word_sets = {}, {}, {}, {}
    return found


@given(streams, st.integers(0, 30), st.integers(0, 30))
def test_split_and_merged_is_the_whole(events: list[Any], one: int, two: int) -> None:
    first, second = sorted((one, two))
    parts = [folded(events[:first]), folded(events[first:second]), folded(events[second:])]
    for pipeline, whole in folded(events).items():
        mine = [part[pipeline] for part in parts if pipeline in part]
        for order in (mine, mine[::-1]):
            assert tallies(tuple(cell for part in order for cell in part.cells)) == tallies(whole.cells)
            assert sliced(*order) == sliced(whole)
        together = sorted((p for part in mine for p in part.scores), key=lambda p: (p.time_ms, p.feedback_id))
        assert together == sorted(whole.scores, key=lambda p: (p.time_ms, p.feedback_id))


@given(streams)
def test_a_replay_gives_the_same_bytes(events: list[Any]) -> None:
    rules = {"p": Rules("exact_match", 3, slices=DIMENSIONS)}
    assert pack(SPAN, batch(events), rules, 2) == pack(SPAN, batch(events), rules, 2)


@given(streams, st.integers(500, 3000))
def test_parted_partials_do_not_overlap_and_hold_everything_once(events: list[Any], max_bytes: int) -> None:
    whole = packed(events)
    parts = packed(events, max_bytes)
    assert parts.keys() == whole.keys()
    for pipeline, found in parts.items():
        assert SPAN.lo <= found[0].lo and found[-1].hi <= SPAN.hi
        assert all(a.lo <= a.hi < b.lo for a, b in pairwise(found))
        cells = tuple(cell for partial in whole[pipeline] for cell in partial.cells)
        assert tallies(tuple(cell for partial in found for cell in partial.cells)) == tallies(cells)
        assert sliced(*found) == sliced(*whole[pipeline])
