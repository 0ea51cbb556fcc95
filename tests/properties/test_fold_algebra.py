"""Folding parts and merging equals folding the whole; folding again gives the same bytes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.json import decode

from streams.meter.fold import Arrived, Rules, Span, fold
from streams.meter.pack import pack
from streams.windows.tally import Tally
from tidemill.events import Feedback, InferenceRequest, InferenceResponse, Partial
from tidemill.events.monitoring import Cell

RULES = Rules("exact_match", 1000)
START_MS = 1_763_800_000_000
quarters = st.integers(0, 4000).map(lambda n: n / 4)  # exact in binary, so that sums do not depend on order
times = st.integers(START_MS, START_MS + 3000)
calls = st.integers(0, 10**12 - 1).map(lambda n: f"0197c1de-0000-7000-8000-{n:012d}")
pipelines = st.sampled_from(["p", "q"])
counts = st.none() | st.integers(0, 1000)

requests = st.builds(
    InferenceRequest,
    call_id=calls,
    time_ms=times,
    pipeline=pipelines,
    gen_ai_conversation_id=st.just("s"),
    input_features=st.dictionaries(st.sampled_from(["chars", "words", "digit_share"]), quarters, max_size=3),
    input_words=st.dictionaries(st.integers(0, 1023), st.integers(1, 9), max_size=3),
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
    gen_ai_usage_input_tokens=counts,
    gen_ai_usage_output_tokens=counts,
    ttft_ms=st.none() | quarters,
    e2e_ms=st.none() | quarters,
    cost_micros=counts,
    output_features=st.dictionaries(st.sampled_from(["chars", "words"]), quarters, max_size=2),
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


def arrived(events: list[Any]) -> list[Arrived]:
    return [Arrived(n, event.time_ms, event) for n, event in enumerate(events)]


def tallies(cells: tuple[Cell, ...]) -> dict[tuple[int, str, str, str], Tally]:
    found: dict[tuple[int, str, str, str], Tally] = {}
    for cell in cells:
        found.setdefault((cell.second, cell.model_version, cell.variant, cell.role), Tally()).add(cell)
    return found


def folded(events: list[Arrived]) -> Partial:
    return fold(Span("t", 0, 0, 99), "p", events, RULES)


@given(streams, st.integers(0, 30), st.integers(0, 30))
def test_split_and_merged_is_the_whole(events: list[Any], one: int, two: int) -> None:
    found = arrived(events)
    first, second = sorted((one, two))
    parts = [folded(found[:first]), folded(found[first:second]), folded(found[second:])]
    whole = folded(found)
    assert tallies(parts[0].cells + parts[1].cells + parts[2].cells) == tallies(whole.cells)
    assert tallies(parts[2].cells + parts[0].cells + parts[1].cells) == tallies(whole.cells)
    together = sorted((p for part in parts for p in part.scores), key=lambda p: (p.time_ms, p.feedback_id))
    assert together == sorted(whole.scores, key=lambda p: (p.time_ms, p.feedback_id))


@given(streams)
def test_a_replay_gives_the_same_bytes(events: list[Any]) -> None:
    span, rules = Span("t", 0, 0, 99), {"p": Rules("exact_match", 3)}
    assert pack(span, arrived(events), rules) == pack(span, arrived(events), rules)


@given(streams, st.integers(500, 3000))
def test_parted_partials_adjoin_and_hold_everything_once(events: list[Any], max_bytes: int) -> None:
    span = Span("t", 0, 0, 99)
    whole = {p.pipeline: decode(p.value, type=Partial) for p in pack(span, arrived(events), {"p": RULES, "q": RULES})}
    parts: dict[str, list[Partial]] = {}
    for one in pack(span, arrived(events), {"p": RULES, "q": RULES}, max_bytes=max_bytes):
        parts.setdefault(one.pipeline, []).append(decode(one.value, type=Partial))
    assert parts.keys() == whole.keys()
    for pipeline, found in parts.items():
        assert (found[0].lo, found[-1].hi) == (span.lo, span.hi)
        assert all(a.hi + 1 == b.lo for a, b in pairwise(found))
        assert tallies(tuple(c for p in found for c in p.cells)) == tallies(whole[pipeline].cells)
