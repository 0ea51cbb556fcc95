"""What a range of events becomes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import pytest

from streams.meter.fold import Arrived, Rules, Span, counting_time_ms, fold
from streams.meter.pack import pack
from streams.meter.sample import chosen
from tidemill.events import Cell, Feedback, InferenceRequest, InferenceResponse, Message, Moments, Partial
from tidemill.sketch import quantile
from tidemill.text import word_buckets

NOW_MS = 1_763_800_000_000
SPAN = Span("topic", 0, 10, 99)
RULES = Rules("exact_match", 20)


def call(number: int) -> str:
    return f"0197c1de-0000-7000-8000-{number:012d}"


def request(number: int = 1, **fields: Any) -> InferenceRequest:
    base: dict[str, Any] = {"call_id": call(number), "time_ms": NOW_MS, "pipeline": "p", "gen_ai_conversation_id": "s"}
    return InferenceRequest(**base | fields)


def response(number: int = 1, **fields: Any) -> InferenceResponse:
    base: dict[str, Any] = {
        "call_id": call(number),
        "answer_id": call(number),
        "time_ms": NOW_MS,
        "call_time_ms": NOW_MS,
        "pipeline": "p",
        "gen_ai_conversation_id": "s",
        "model_version": "p-v1",
        "variant": "champion",
        "status": "ok",
        "e2e_ms": 100.0,
    }
    return InferenceResponse(**base | fields)


def feedback(number: int = 1, **fields: Any) -> Feedback:
    base: dict[str, Any] = {
        "feedback_id": f"f{number}",
        "call_id": call(number),
        "time_ms": NOW_MS,
        "call_time_ms": NOW_MS - 5,
        "pipeline": "p",
        "model_version": "p-v1",
        "kind": "score",
        "source": "scorer",
        "metric": "exact_match",
        "score": 1.0,
    }
    return Feedback(**base | fields)


def folded(*events: Any, rules: Rules = RULES) -> Partial:
    return fold(SPAN, "p", [Arrived(10 + n, e.time_ms, e) for n, e in enumerate(events)], rules)


def only(partial: Partial) -> Cell:
    (cell,) = partial.cells
    return cell


def test_requests_count_by_second_without_a_version() -> None:
    found = folded(request(1), request(2), request(3, time_ms=NOW_MS + 1000))
    assert [(c.second, c.requests, c.model_version) for c in found.cells] == [
        (NOW_MS // 1000, 2, ""),
        (NOW_MS // 1000 + 1, 1, ""),
    ]
    assert (found.topic, found.partition, found.lo, found.hi, found.pipeline) == ("topic", 0, 10, 99, "p")


def test_answers_count_by_version_variant_and_role() -> None:
    found = folded(
        response(1, gen_ai_usage_input_tokens=5, gen_ai_usage_output_tokens=2, cost_micros=30),
        response(2, status="error", e2e_ms=None),
        response(3, variant="shadow", role="shadow", model_version="p-v2", cost_micros=0),
    )
    champion, shadow = found.cells
    assert (champion.answers, champion.outcomes) == (2, {"error": 1, "ok": 1})
    assert (champion.input_tokens, champion.output_tokens, champion.cached_tokens) == (5, 2, 0)
    assert (champion.cost_micros, champion.priced) == (30, 1), "unpriced is not free"
    assert champion.moments["e2e_ms"] == Moments(n=1, total=100.0, total_sq=10_000.0)
    assert "ttft_ms" not in champion.moments, "an absent duration is not zero"
    assert (shadow.role, shadow.model_version, shadow.priced) == ("shadow", "p-v2", 1)


def test_histograms_answer_quantiles() -> None:
    found = only(folded(*(response(n, ttft_ms=float(n)) for n in range(1, 101))))
    assert quantile(found.histograms["ttft_ms"], 0.5) == pytest.approx(50, rel=0.02)
    assert sum(found.histograms["ttft_ms"].values()) == 100
    assert "output_chars" not in found.histograms


def test_text_features_given_or_made_or_none() -> None:
    text = "Where is my card, order 17?"
    messages = (Message(role="system", content="be kind and long"), Message(role="user", content=text))
    made = only(folded(request(1, gen_ai_input_messages=messages)))
    assert made.sampled == 1 and made.moments["input_chars"].total == len(text)
    assert made.moments["input_words"].total == 6 and made.words == word_buckets([text])
    given = only(folded(request(1, input_features={"chars": 3.0, "unknown": 9.0}, input_words={7: 2, -1: 5, 5000: 1})))
    assert set(given.moments) == {"input_chars"} and given.words == {7: 2}
    assert only(folded(request(1))).sampled == 0
    answered = only(folded(response(1, gen_ai_output_text="two words")))
    assert answered.moments["output_words"].total == 2
    assert "output_chars" not in only(folded(response(1))).moments


def test_the_sample_is_bounded_and_depends_on_ids_alone() -> None:
    events = [request(n, input_features={"chars": 1.0}) for n in range(50)]
    found = only(folded(*events, rules=Rules("", 5)))
    assert (found.requests, found.sampled, found.moments["input_chars"].n) == (50, 5, 5)
    candidates = [(n % 2, call(n)) for n in range(100)]
    kept = chosen(candidates, 5)
    assert kept == chosen(reversed(candidates), 5) and len(kept) == 10
    assert chosen(candidates, 0) == set()


def test_absurd_values_are_no_measurement_and_counts_stay_readable() -> None:
    found = only(folded(request(1, input_features={"chars": 1e300, "words": 2.0})))
    assert set(found.moments) == {"input_words"}
    most = 2_147_483_647
    found = only(folded(*(response(n, gen_ai_usage_input_tokens=most) for n in range(3))))
    assert found.input_tokens == most
    again = msgspec.json.decode(msgspec.json.encode(folded(response(1, model_version="v" * 9000))), type=Partial)
    assert len(only(again).model_version) == 256


def test_scores_count_and_travel_in_event_time_order() -> None:
    found = folded(
        feedback(1, time_ms=NOW_MS + 9, score=0.0),
        feedback(2, time_ms=NOW_MS + 3),
        feedback(3, kind="thumb", metric="thumb", source="user"),
        feedback(4, kind="thumb", metric="", source="user", score=0.0),
        feedback(5, metric="another"),
        feedback(6, kind="label", metric="", score=None, value="x"),
    )
    cell = only(found)
    assert cell.moments["quality"] == Moments(n=2, total=1.0, total_sq=1.0)
    assert cell.moments["thumb"] == Moments(n=2, total=1.0, total_sq=1.0)
    assert [(p.feedback_id, p.metric) for p in found.scores] == [
        ("f3", "thumb"),
        ("f4", "thumb"),
        ("f2", "exact_match"),
        ("f1", "exact_match"),
    ]
    assert found.scores[0].call_time_ms == NOW_MS - 5 and found.scores_dropped == 0


def test_scores_past_the_cap_are_said_and_quality_goes_first() -> None:
    thumbs = [feedback(n, kind="thumb", metric="thumb") for n in range(300)]
    found = folded(*thumbs, feedback(999, time_ms=NOW_MS + 100))
    assert len(found.scores) == 256 and found.scores_dropped == 45
    assert found.scores[-1].feedback_id == "f999"
    assert only(found).moments["thumb"].n == 300


def test_shadow_scores_are_shadows() -> None:
    assert only(folded(feedback(1, variant="shadow", model_version="p-v2"))).role == "shadow"


def test_a_thumb_may_be_the_quality() -> None:
    cell = only(folded(feedback(1, kind="thumb", metric="thumb"), rules=Rules("thumb", 20)))
    assert set(cell.moments) == {"quality", "thumb"}


def test_unknown_pipelines_get_traffic_but_no_quality() -> None:
    (packed,) = pack(SPAN, [Arrived(10, NOW_MS, feedback(1))], {})
    assert msgspec.json.decode(packed.value, type=Partial).cells == ()


def test_a_clock_ahead_counts_at_arrival_plus_skew() -> None:
    assert counting_time_ms(9_000, 1_000, 5_000) == 6_000
    assert counting_time_ms(5_999, 1_000, 5_000) == 5_999
    assert counting_time_ms(10, 1_000, 5_000) == 10
    assert counting_time_ms(9_000, None, 5_000) == 9_000


def test_one_message_a_pipeline_parted_only_when_too_large() -> None:
    events = [Arrived(10 + n, NOW_MS + n * 1000, request(n, pipeline="ab"[n % 2])) for n in range(40)]
    packed = pack(SPAN, events, {})
    assert [p.pipeline for p in packed] == ["a", "b"]
    parted = [msgspec.json.decode(p.value, type=Partial) for p in pack(SPAN, events, {}, max_bytes=2_000)]
    for pipeline in "ab":
        mine = [p for p in parted if p.pipeline == pipeline]
        assert len(mine) > 1 and (mine[0].lo, mine[-1].hi) == (10, 99)
        assert all(a.hi + 1 == b.lo for a, b in pairwise(mine))
        assert sum(c.requests for p in mine for c in p.cells) == 20


def test_feedback_repeated_in_a_range_counts_once_at_its_first_place() -> None:
    events = [feedback(1), feedback(2, score=0.0), feedback(1, score=0.5), feedback(2, score=0.0), feedback(3)]
    arrived = [Arrived(10 + n, NOW_MS + n, e) for n, e in enumerate(events)]
    (packed,) = pack(SPAN, arrived, {"p": RULES})
    found = msgspec.json.decode(packed.value, type=Partial)
    assert only(found).moments["quality"] == Moments(n=3, total=2.0, total_sq=2.0)
    assert [p.feedback_id for p in found.scores] == ["f1", "f2", "f3"]
    assert pack(SPAN, arrived, {"p": RULES}) == [packed]
    parted = [msgspec.json.decode(p.value, type=Partial) for p in pack(SPAN, arrived, {"p": RULES}, max_bytes=10)]
    assert sum(len(p.scores) for p in parted) == 3 and (parted[0].lo, parted[-1].hi) == (10, 99)
    (a, b) = pack(SPAN, [arrived[0], Arrived(20, NOW_MS, feedback(1, pipeline="q"))], {"p": RULES, "q": RULES})
    assert all(len(msgspec.json.decode(one.value, type=Partial).scores) == 1 for one in (a, b))


def test_an_answer_without_text_has_no_features_though_its_shadow_has() -> None:
    client = response(1, status="error", gen_ai_output_text=None)
    shadow = response(1, role="shadow", variant="shadow", gen_ai_output_text="two words")
    without, looked_at = fold(SPAN, "p", [Arrived(10, NOW_MS, client), Arrived(11, NOW_MS, shadow)], RULES).cells
    assert (without.role, looked_at.role) == ("client", "shadow")
    assert not {"output_chars", "output_words"} & without.moments.keys()
    assert looked_at.moments["output_words"].total == 2
