-- The tables the sink writes. A column has the name of its event's field; nested fields land as JSON text.
-- `time` is made from `time_ms`. _topic, _partition, _offset say where each row came from.
-- No materialized views on these tables: a store killed at the wrong moment would lose rows in the view alone.

CREATE TABLE IF NOT EXISTS requests
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    call_id String CODEC(ZSTD(1)),
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    pipeline LowCardinality(String),
    gen_ai_conversation_id String CODEC(ZSTD(1)),
    tenant LowCardinality(String),
    gen_ai_operation_name LowCardinality(String),
    gen_ai_request_model LowCardinality(String),
    gen_ai_input_messages Nullable(String) CODEC(ZSTD(1)),
    parameters String CODEC(ZSTD(1)),
    prompt_version LowCardinality(String),
    attributes Map(String, String),
    input_features Map(String, Float64),
    input_words Map(Int32, Int64)
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time, call_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS responses
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    call_id String CODEC(ZSTD(1)),
    answer_id String CODEC(ZSTD(1)),
    role LowCardinality(String),
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    call_time_ms Int64,
    pipeline LowCardinality(String),
    gen_ai_conversation_id String CODEC(ZSTD(1)),
    tenant LowCardinality(String),
    gen_ai_operation_name LowCardinality(String),
    gen_ai_provider_name LowCardinality(String),
    gen_ai_request_model LowCardinality(String),
    gen_ai_response_model LowCardinality(String),
    model_version LowCardinality(String),
    variant LowCardinality(String),
    route_epoch UInt32,
    route_reason LowCardinality(String),
    status LowCardinality(String),
    error_type LowCardinality(String),
    http_status UInt32,
    gen_ai_response_finish_reason LowCardinality(String),
    gen_ai_usage_input_tokens Nullable(UInt32),
    gen_ai_usage_cached_tokens Nullable(UInt32),
    gen_ai_usage_output_tokens Nullable(UInt32),
    queue_ms Nullable(Float64),
    ttft_ms Nullable(Float64),
    tpot_ms Nullable(Float64),
    e2e_ms Nullable(Float64),
    cost_micros Nullable(Int64),
    cost_currency LowCardinality(String),
    cache_hit Bool,
    mean_logprob Nullable(Float64),
    gen_ai_output_text Nullable(String) CODEC(ZSTD(1)),
    output_features Map(String, Float64)
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time, call_id, answer_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS feedback
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    feedback_id String CODEC(ZSTD(1)),
    call_id String CODEC(ZSTD(1)),
    answer_id Nullable(String) CODEC(ZSTD(1)),
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    call_time_ms Int64,
    pipeline LowCardinality(String),
    model_version LowCardinality(String),
    variant LowCardinality(String),
    kind LowCardinality(String),
    source LowCardinality(String),
    source_feedback_id String CODEC(ZSTD(1)),
    label_source LowCardinality(String),
    metric LowCardinality(String),
    metric_version LowCardinality(String),
    score Nullable(Float64),
    value Nullable(String) CODEC(ZSTD(1))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time, call_id, feedback_id)
SETTINGS non_replicated_deduplication_window = 10000;
