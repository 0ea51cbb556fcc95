"""The calls on one side of an alarm's change: one bounded query, each call once, the same for the same rows."""

from __future__ import annotations

from typing import Any

from consumers.evidence.call import Call, call_of
from tidemill.events.types import MAX_NAME
from tidemill.io.clickhouse import Store
from tidemill.slices import ATTRIBUTE, DIMENSIONS

MOST_ROWS = 2_000
_SKEW_MS = 60_000
_WINDOW_MS = 6 * 3_600_000
"""Reference calls are at most this much older than the change."""

MOST_CHARS = 4_000
"""Characters of a text that are looked at, cut in the store: prompts may have a million, and there are 4,000 calls."""

_ASKED = """
    SELECT call_id, time_ms, tenant, prompt_version, input_language, attributes, input_features, input_words,
           substringUTF8(arrayStringConcat(arrayMap(m -> JSONExtractString(m, 'content'), arrayFilter(
               m -> JSONExtractString(m, 'role') = 'user', JSONExtractArrayRaw(ifNull(gen_ai_input_messages, ''))
           )), '\\n'), 1, {chars:UInt32}) AS question
    FROM requests
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
      AND time < fromUnixTimestamp64Milli({until:Int64})
      AND ({dimension:String} = ''
           OR {value:String} = substringUTF8(multiIf(FIELDS, attributes[{attribute:String}]), 1, {kept:UInt32}))
    ORDER BY time DESC, call_id DESC, _partition, _offset LIMIT 1 BY call_id LIMIT {most:UInt32}
""".replace("FIELDS", ", ".join(f"{{dimension:String}} = '{name}', {name}" for name in DIMENSIONS))
_CALLS = """
SELECT r.call_id AS call_id, r.time_ms AS time_ms, r.tenant AS tenant, r.prompt_version AS prompt_version,
       r.input_language AS input_language, r.attributes AS attributes, r.input_features AS input,
       r.input_words AS words, r.question AS question, s.model_version AS model_version, s.variant AS variant,
       s.status AS status, s.gen_ai_response_finish_reason AS finish_reason,
       s.queue_ms AS queue_ms, s.ttft_ms AS ttft_ms, s.tpot_ms AS tpot_ms, s.e2e_ms AS e2e_ms,
       s.gen_ai_usage_input_tokens AS input_tokens, s.gen_ai_usage_cached_tokens AS cached_tokens,
       s.gen_ai_usage_output_tokens AS output_tokens, s.cost_micros AS cost_micros, s.output_features AS output,
       s.gen_ai_output_text AS answer, q.last AS score, q.quality AS quality, q.thumb AS thumb, q.expected AS expected
FROM (ASKED) AS r
LEFT JOIN
(
    SELECT call_id, model_version, variant, status, gen_ai_response_finish_reason, queue_ms, ttft_ms, tpot_ms, e2e_ms,
           gen_ai_usage_input_tokens, gen_ai_usage_cached_tokens, gen_ai_usage_output_tokens, cost_micros,
           output_features, substringUTF8(gen_ai_output_text, 1, {chars:UInt32}) AS gen_ai_output_text
    FROM responses
    WHERE pipeline = {pipeline:String} AND role = 'client' AND time >= fromUnixTimestamp64Milli({early:Int64})
      AND call_id IN (SELECT call_id FROM (ASKED))
    ORDER BY call_id, time_ms DESC, _partition, _offset LIMIT 1 BY call_id
) AS s ON s.call_id = r.call_id
LEFT JOIN
(
    SELECT call_id, argMaxIf(score, (time_ms, feedback_id), score IS NOT NULL) AS last,
           argMaxIf(score, (time_ms, feedback_id), score IS NOT NULL AND judged_by = {quality:String}) AS quality,
           argMaxIf(score, (time_ms, feedback_id), score IS NOT NULL AND judged_by = 'thumb') AS thumb,
           argMaxIf(substringUTF8(value, 1, {chars:UInt32}), (time_ms, feedback_id), kind IN ('label', 'correction'))
               AS expected
    FROM
    (
        SELECT call_id, feedback_id, time_ms, kind, score, value,
               if(metric = '' AND kind = 'thumb', 'thumb', metric) AS judged_by
        FROM feedback
        WHERE pipeline = {pipeline:String} AND variant != 'shadow'
          AND time >= fromUnixTimestamp64Milli({early:Int64}) AND call_id IN (SELECT call_id FROM (ASKED))
    )
    GROUP BY call_id
) AS q ON q.call_id = r.call_id
ORDER BY time_ms, call_id
SETTINGS join_use_nulls = 1
""".replace("ASKED", _ASKED)


def before(store: Store, pipeline: str, quality: str, change_ms: int, slice: str = "") -> list[Call]:
    """The last calls before the change, of a slice where one is named; oldest first. Raises Retry when the store is
    away.
    """
    return _calls(store, pipeline, quality, max(change_ms - _WINDOW_MS, 0), change_ms, slice)


def after(store: Store, pipeline: str, quality: str, change_ms: int, until_ms: int, slice: str = "") -> list[Call]:
    """The newest calls from the change up to a time, likewise."""
    return _calls(store, pipeline, quality, change_ms, until_ms, slice)


def _calls(store: Store, pipeline: str, quality: str, since_ms: int, until_ms: int, slice: str) -> list[Call]:
    dimension, _, value = slice.partition("=")
    given: dict[str, Any] = {"pipeline": pipeline, "quality": quality, "most": MOST_ROWS, "chars": MOST_CHARS}
    given |= {"dimension": dimension, "attribute": dimension.removeprefix(ATTRIBUTE), "value": value}
    given["kept"] = MAX_NAME - len(dimension) - 1
    given |= {"since": since_ms, "until": until_ms, "early": max(since_ms - _SKEW_MS, 0)}
    return [call_of(row) for row in store.rows(_CALLS, given)]
