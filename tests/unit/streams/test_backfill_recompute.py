"""Windows computed anew from events are the stream's own, row for row; what differs, and only that, is written."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from streams.backfill.recompute import Recomputed, changes, same
from streams.backfill.recompute import folded as metered
from streams.backfill.source import Counted
from streams.meter.fold import rules_of
from streams.windows.slices import slicing_of
from tests.unit.streams.drawing import START_MS, Reader, deployment
from tidemill.codec import encode
from tidemill.events import Feedback, InferenceRequest, InferenceResponse, PartitionProgress, Progress, Window
from tidemill.ids import uuid7
from tidemill.metrics import REFERENCE_METRICS
from tidemill.settings import Settings
from tidemill.slices import by_dimension

SIZE_S = 5
DIMENSIONS = ("tenant", "prompt_version", "input_language")
SECONDS = 30
TOPICS: dict[Any, str] = {InferenceRequest: "inference.requests", InferenceResponse: "inference.responses"}
SEEN = set(REFERENCE_METRICS)


def told(versions: Sequence[str], per_second: int = 8) -> list[Any]:
    """Requests, answers and scores, in order of time."""
    noise = random.Random(5)
    found: list[Any] = []
    for number in range(SECONDS * per_second):
        at = START_MS + number * 1000 // per_second
        call = uuid7(at, number.to_bytes(10, "big"))
        common: dict[str, Any] = {"call_id": call, "pipeline": "schedule", "time_ms": at}
        sliced: dict[str, Any] = {"tenant": noise.choice(["acme", "globex", ""]), "prompt_version": f"{number // 80}"}
        sliced["attributes"] = {"language": noise.choice(["en", "de"])}
        sliced["input_language"] = ("en", "de", "")[number % 3]
        features = {"chars": noise.uniform(1, 99)}
        found.append(InferenceRequest(gen_ai_conversation_id="c", input_features=features, **common, **sliced))
        found.append(
            InferenceResponse(
                answer_id=call,
                call_time_ms=at,
                gen_ai_conversation_id="c",
                model_version=noise.choice(versions),
                variant="champion",
                status=noise.choice(["ok", "ok", "error", "cancelled"]),
                gen_ai_usage_input_tokens=noise.randrange(50),
                gen_ai_usage_output_tokens=noise.randrange(50),
                e2e_ms=noise.uniform(1, 2000),
                cost_micros=noise.choice([None, 17]),
                gen_ai_response_finish_reason=noise.choice(["", "stop", "length", "content_filter"]),
                output_features=noise.choice([{"chars": 5.0}, {}]),
                gen_ai_output_text=noise.choice(["I'm unable to say.", "so and so and so and so"]),
                **common,
                **sliced,
            )
        )
        found.append(
            Feedback(
                feedback_id=str(number), call_time_ms=at, model_version=noise.choice(versions), kind="score",
                source="client", metric="exact_match", score=noise.random(), **common,
                slices={} if number % 5 == 0 else by_dimension((*DIMENSIONS, "attributes.language"), **sliced),
            )
        )  # fmt: skip
    return found


def by_topic_of(events: Sequence[Any]) -> dict[str, list[Counted]]:
    by_topic: dict[str, list[Counted]] = {}
    for event in events:
        own = by_topic.setdefault(TOPICS.get(type(event), "inference.feedback"), [])
        own.append(Counted(event.time_ms, event))
    return by_topic


def stream(settings: Settings, events: Sequence[Any], range_size: int) -> list[Window]:
    """The windows the running stream gives, whose meter froze ranges of ``range_size``."""
    folded = Reader(settings)
    rules = rules_of(settings)["schedule"]
    ends = {}
    for topic, own in by_topic_of(events).items():
        ends[topic] = len(own)
        for lo in range(0, len(own), range_size):
            piece = own[lo : lo + range_size]
            for partial in metered(topic, "schedule", piece, rules):
                folded.take(replace(partial, lo=lo, hi=lo + len(piece) - 1))
    progress = Progress(
        meter="m",
        time_ms=START_MS + (SECONDS + 5) * 1000,
        source_partitions=len(ends),
        partitions=tuple(PartitionProgress(topic=t, partition=0, position=end, end=end) for t, end in ends.items()),
    )
    return folded.take(progress).windows


def recomputed(
    settings: Settings, events: Sequence[Any], known: Sequence[Window], step: int = 10_000
) -> tuple[list[Window], dict[int, set[str]]]:
    slicing = slicing_of(settings.pipelines["schedule"])
    rules, most = rules_of(settings)["schedule"], settings.windows.max_series
    computed = Recomputed("schedule", SIZE_S * 1000, rules, known, most, slicing)
    for topic, own in by_topic_of(events).items():
        for lo in range(0, len(own), step):
            computed.add(topic, own[lo : lo + step])
    unsampled = computed.unsampled()
    rows = []
    for start, tallies in computed.tallies.items():
        before = [row for row in known if row.start_ms == start]
        out = unsampled.get(start, ())
        slices = computed.slices.of(start)
        rows += changes("schedule", start, start + SIZE_S * 1000, tallies, before, out, 7, slices).rows
    return rows, unsampled


@pytest.fixture(params=[{}, {"slices": DIMENSIONS}])
def settings(request: pytest.FixtureRequest) -> Settings:
    return deployment(size_s=SIZE_S, **request.param)


@pytest.mark.parametrize("step", [7, 10_000])
def test_where_the_stream_was_right_there_is_nothing_to_write(settings: Settings, step: int) -> None:
    events = told(["v1", "v2"])
    windows = stream(settings, events, 23)
    assert len({row.start_ms for row in windows}) == SECONDS // SIZE_S
    assert recomputed(settings, events, windows, step) == ([], {})


def test_from_nothing_it_gives_the_same_rows(settings: Settings) -> None:
    events = told(["v1", "v2"])
    wanted = {key(row): row for row in stream(settings, events, 23) if row.metric not in SEEN}
    rows, _ = recomputed(settings, events, [])
    assert {key(row) for row in rows} == set(wanted)
    assert all(same(row, wanted[key(row)]) and row.revision == 0 and row.complete for row in rows)


def test_an_altered_row_is_written_as_the_next_revision_and_nothing_else(settings: Settings) -> None:
    events = told(["v1", "v2"])
    windows = stream(settings, events, 23)
    at = next(i for i, row in enumerate(windows) if row.metric == "e2e_ms")
    right = windows[at]
    windows[at] = msgspec.structs.replace(right, total=right.total + 1)
    (row,), _ = recomputed(settings, events, windows)
    assert key(row) == key(right) and same(row, right) and row.revision == 1
    assert recomputed(settings, events, [*windows[:at], row, *windows[at + 1 :]]) == ([], {}), "a second run"


def test_what_was_counted_without_raw_rows_is_taken_back_once(settings: Settings) -> None:
    events = told(["v1"])
    windows = stream(settings, events, 23)
    strange = next(row for row in windows if row.metric == "answers")
    strange = msgspec.structs.replace(strange, model_version="v9")
    (row,), _ = recomputed(settings, events, [*windows, strange])
    assert (row.model_version, row.n, row.value) == ("v9", 0, None)
    assert encode(row)
    assert recomputed(settings, events, [*windows, row])[0] == []


def test_more_calls_than_the_sample_takes_leave_the_text_alone(settings: Settings) -> None:
    settings = deployment(size_s=SIZE_S, drift={"samples_per_second": 5})
    events = told(["v1"])
    windows = stream(settings, events, 40)
    rows, unsampled = recomputed(settings, events, windows)
    assert rows == [] and set(unsampled) == {row.start_ms for row in windows}
    without_text = [row for row in windows if not row.metric.endswith("_chars")]
    assert recomputed(settings, events, without_text)[0] == []


def test_text_that_the_stream_sampled_is_left_alone(settings: Settings) -> None:
    events = told(["v1"])
    windows = [
        msgspec.structs.replace(row, sample_share=0.5, total=0.0) if row.metric == "input_chars" else row
        for row in stream(settings, events, 23)
    ]
    rows, unsampled = recomputed(settings, events, windows)
    assert rows == [] and set(unsampled) == {row.start_ms for row in windows}


def test_folded_versions_stay_folded(settings: Settings) -> None:
    settings = settings.model_copy(update={"windows": settings.windows.model_copy(update={"max_series": 12})})
    events = told([f"v{n}" for n in range(20)])
    windows = stream(settings, events, 23)
    assert any(row.model_version == "other" for row in windows)
    assert recomputed(settings, events, windows)[0] == []


def test_slices_that_are_counted_as_other_stay_so() -> None:
    settings = deployment(size_s=SIZE_S, slices=DIMENSIONS, max_slices=2)
    events = told(["v1"])
    windows = stream(settings, events, 23)
    assert {"tenant=other", "prompt_version=other"} <= {row.slice for row in windows}
    assert recomputed(settings, events, windows)[0] == []


def test_slices_that_are_no_longer_asked_for_stay_as_they_are() -> None:
    events = told(["v1"])
    windows = stream(deployment(size_s=SIZE_S, slices=DIMENSIONS), events, 23)
    assert any(row.slice for row in windows)
    assert recomputed(deployment(size_s=SIZE_S), events, windows) == ([], {})


def test_slices_that_are_asked_for_now_get_their_past() -> None:
    events, settings = told(["v1"]), deployment(size_s=SIZE_S, slices=DIMENSIONS)
    rows, _ = recomputed(settings, events, stream(deployment(size_s=SIZE_S), events, 23))
    wanted = {key(row): row for row in stream(settings, events, 23) if row.slice}
    assert {key(row) for row in rows} == set(wanted)
    assert all(same(row, wanted[key(row)]) for row in rows)


def key(row: Window) -> tuple[str, str, str, str, str, int]:
    return (row.model_version, row.variant, row.role, row.slice, row.metric, row.start_ms)
