"""What a range of events becomes."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import msgspec
import numpy as np
import pytest

from streams.meter.batch import Batch, Span, counting_times_ms
from streams.meter.fold import Rules, fold
from streams.meter.pack import Packed, pack
from streams.meter.sample import chosen
from streams.windows.state import Windows
from tidemill.events import Cell, Feedback, InferenceRequest, InferenceResponse, Message, Moments, Partial, Partials
from tidemill.io.ranges.range import EPOCH_OFFSETS
from tidemill.output_format import is_json
from tidemill.settings.monitoring import WindowSettings
from tidemill.sketch import quantile
from tidemill.text import word_buckets
from tidemill.topics import partition_of

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


def batch(*events: Any, start: int = 10) -> Batch:
    times = np.array([event.time_ms for event in events], np.int64)
    return Batch(range(start, start + len(events)), times, events)


def folded(*events: Any, rules: Rules = RULES) -> Partial:
    (partial,) = fold(SPAN, batch(*events), {"p": rules})
    return partial


def opened(packed: list[Packed]) -> list[Partial]:
    messages = [msgspec.json.decode(one.value, type=Partials) for one in packed]
    return [partial for message in messages for partial in message.partials]


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


def test_languages_are_those_told_or_else_those_of_the_text() -> None:
    german = (Message(role="user", content="Wo bleibt mein Geld, das fehlt noch?"),)
    found = folded(
        request(1, gen_ai_input_messages=german),
        request(2, gen_ai_input_messages=german, input_language="nds"),
        request(3, input_features={"chars": 4.0}, input_language="de"),
        request(4, gen_ai_input_messages=(Message(role="user", content="?"),)),
        request(5, input_language="de"),
    )
    assert only(found).languages == {"de": 2, "nds": 1}, "of what was looked at: the last one has nothing else"


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


def test_answers_cut_off_or_ended_otherwise_are_shares_of_those_whose_end_is_known() -> None:
    reasons = ["length", "stop", "", "tool_calls", "length"]
    found = only(folded(*(response(n, gen_ai_response_finish_reason=reason) for n, reason in enumerate(reasons))))
    assert found.moments["truncated_rate"] == Moments(n=4, total=2.0, total_sq=2.0), "all of them, not a sample"
    assert found.moments["other_finish_rate"] == Moments(n=4, total=1.0, total_sq=1.0), "a call of tools"
    unknown = only(folded(response(1))).moments
    assert not unknown.keys() & {"truncated_rate", "other_finish_rate"}, "absence is not zero"


def test_what_answers_show_is_taken_from_their_text() -> None:
    texts = ["I'm unable to do that.", "", "no no no no no no"]
    found = only(folded(*(response(n, gen_ai_output_text=text) for n, text in enumerate(texts))))
    assert found.sampled_answers == 3
    assert {name: found.moments[f"output_{name}"].total for name in ("empty", "refusal")} == {"empty": 1, "refusal": 1}
    assert found.moments["output_repetition"] == Moments(n=2, total=2 / 3, total_sq=(2 / 3) ** 2)
    quiet = folded(response(1, gen_ai_output_text="", gen_ai_response_finish_reason="tool_calls"))
    assert only(quiet).moments["output_empty"].total == 0, "a call of a tool needs no text"


def test_the_form_of_answers_is_judged_where_their_producer_did_not() -> None:
    rules = Rules("", 20, is_json)
    told = {"chars": 2.0}
    found = only(
        folded(
            response(1, gen_ai_output_text="{}", output_features=told),
            response(2, gen_ai_output_text="{}", output_features=told | {"valid": 0.0}),
            response(3, gen_ai_output_text="no", output_features=told),
            response(4, output_features=told),
            response(5, gen_ai_output_text="{", output_features=told, status="cancelled"),
            rules=rules,
        )
    )
    assert found.moments["output_valid"] == Moments(n=3, total=1.0, total_sq=1.0)
    assert "output_empty" not in found.moments, "other features are taken as they come"
    assert "output_valid" not in only(folded(response(1, gen_ai_output_text="{}"))).moments


def test_the_sample_is_bounded_and_depends_on_ids_alone() -> None:
    events = [request(n, input_features={"chars": 1.0}) for n in range(50)]
    found = only(folded(*events, rules=Rules("", 5)))
    assert (found.requests, found.sampled, found.moments["input_chars"].n) == (50, 5, 5)
    calls = [call(n) for n in range(100)]
    groups, most = np.arange(100) % 2, np.array([5, 3])
    kept = chosen(groups, calls, most, 999)
    assert [int(kept[groups == group].sum()) for group in (0, 1)] == [5, 3]
    assert (chosen(groups[::-1], calls[::-1], most, 999) == kept[::-1]).all()
    assert not chosen(groups, calls, np.array([0, 0]), 999).any()
    fewer = chosen(groups, calls, most, 5)
    assert [int(fewer[groups == group].sum()) for group in (0, 1)] == [3, 2], "each group's first ones first"
    assert not (fewer & ~kept).any()
    twice = chosen(np.append(groups, groups), calls + calls, most, 999)
    assert (twice == np.append(kept, kept)).all(), "two answers of one call are looked at together"


def test_answers_looked_at_are_counted() -> None:
    events = [response(n, gen_ai_output_text="two words") for n in range(50)]
    found = only(folded(*events, response(99), rules=Rules("", 5)))
    assert (found.answers, found.sampled_answers, found.moments["output_words"].n) == (51, 5, 5)
    assert only(folded(*events, rules=Rules("", 0))).sampled_answers == 0


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
    assert pack(SPAN, batch(feedback(1)), {}, 2) == []
    (partial,) = opened(pack(SPAN, batch(request(1)), {}, 2))
    assert only(partial).requests == 1


def test_a_clock_ahead_counts_at_arrival_plus_skew() -> None:
    found = counting_times_ms([9_000, 5_999, 10, 9_000], [1_000, 1_000, 1_000, -1], 5_000)
    assert found.tolist() == [6_000, 5_999, 10, 9_000]


def test_one_message_a_partition_however_many_pipelines() -> None:
    names = [f"pipeline-{n:03d}" for n in range(100)]
    found = pack(SPAN, batch(*(request(n, pipeline=name) for n, name in enumerate(names))), {}, 3)
    assert [one.partition for one in found] == [0, 1, 2]
    for one in found:
        mine = [partial.pipeline for partial in opened([one])]
        assert mine == [name for name in names if partition_of(name, 3) == one.partition]


def test_messages_stay_below_the_limit_of_the_topic() -> None:
    events = [request(n, pipeline=f"pipeline-{n:03d}") for n in range(100)]
    found = pack(SPAN, batch(*events), {}, 2, max_bytes=2_000)
    assert len(found) > 4 and all(len(one.value) < 2_100 for one in found)
    assert sorted(p.pipeline for p in opened(found)) == [f"pipeline-{n:03d}" for n in range(100)]


def test_a_pipeline_too_large_for_a_message_is_parted_into_adjoining_ranges() -> None:
    events = batch(*(request(n, pipeline="ab"[n % 2], time_ms=NOW_MS + n * 1000) for n in range(40)))
    parted = opened(pack(SPAN, events, {}, 2, max_bytes=2_000))
    for pipeline in "ab":
        mine = [p for p in parted if p.pipeline == pipeline]
        assert len(mine) > 1 and (mine[0].lo, mine[-1].hi) == (10, 99)
        assert all(a.hi + 1 == b.lo for a, b in pairwise(mine))
        assert sum(c.requests for p in mine for c in p.cells) == 20


def test_parts_of_a_range_after_a_lost_tail_are_above_all_before_it() -> None:
    """Stage 2 knows what it applied by lo..hi, and offsets come a second time."""
    windows = Windows()
    events = batch(*(request(n, time_ms=NOW_MS + n * 1000) for n in range(40)))
    for first in (0, EPOCH_OFFSETS, 2 * EPOCH_OFFSETS):
        parted = opened(pack(Span("topic", 0, first + 10, first + 99), events, {}, 2, max_bytes=2_000))
        assert len(parted) > 1 and (parted[0].lo, parted[-1].hi) == (first + 10, first + 99)
        assert all(a.hi + 1 == b.lo for a, b in pairwise(parted))
        for expected in ("applied", "repeated"):
            assert {windows.apply(part, 0, WindowSettings()) for part in parted} == {expected}


def test_feedback_repeated_in_a_range_counts_once_at_its_first_place() -> None:
    events = [feedback(1), feedback(2, score=0.0), feedback(1, score=0.5), feedback(2, score=0.0), feedback(3)]
    arrived = batch(*(msgspec.structs.replace(e, time_ms=NOW_MS + n) for n, e in enumerate(events)))
    packed = pack(SPAN, arrived, {"p": RULES}, 2)
    (found,) = opened(packed)
    assert only(found).moments["quality"] == Moments(n=3, total=2.0, total_sq=2.0)
    assert [p.feedback_id for p in found.scores] == ["f1", "f2", "f3"]
    assert pack(SPAN, arrived, {"p": RULES}, 2) == packed
    parted = opened(pack(SPAN, arrived, {"p": RULES}, 2, max_bytes=10))
    assert sum(len(p.scores) for p in parted) == 3 and (parted[0].lo, parted[-1].hi) == (10, 99)
    both = opened(pack(SPAN, batch(feedback(1), feedback(1, pipeline="q")), {"p": RULES, "q": RULES}, 2))
    assert [len(one.scores) for one in both] == [1, 1]


def test_an_answer_without_text_has_no_features_though_its_shadow_has() -> None:
    client = response(1, status="error", gen_ai_output_text=None)
    shadow = response(1, role="shadow", variant="shadow", gen_ai_output_text="two words")
    without, looked_at = folded(client, shadow).cells
    assert (without.role, looked_at.role) == ("client", "shadow")
    assert not {"output_chars", "output_words"} & without.moments.keys()
    assert looked_at.moments["output_words"].total == 2


@pytest.mark.parametrize("event", [request, response, feedback])
def test_a_repeat_in_a_range_counts_once_and_the_same_id_in_another_pipeline_is_another_event(event: Any) -> None:
    rules = {"p": RULES, "q": RULES}
    both = pack(SPAN, batch(event(1), event(1, pipeline="q")), rules, 2)
    assert [partial.pipeline for partial in opened(both)] == ["p", "q"]
    assert pack(SPAN, batch(event(1), event(1, pipeline="q"), event(1)), rules, 2) == both
