-- What the stream processors say. A window revised by late data has several rows: the highest revision holds
-- (select with `LIMIT 1 BY pipeline, model_version, variant, role, metric, start_ms` after ordering by revision, or argMax).

CREATE TABLE IF NOT EXISTS windows
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    pipeline LowCardinality(String),
    model_version LowCardinality(String),
    variant LowCardinality(String),
    role LowCardinality(String),
    metric LowCardinality(String),
    unit LowCardinality(String),
    start_ms Int64,
    start DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(start_ms, 'UTC'),
    end_ms Int64,
    n UInt32,
    total Float64,
    total_sq Float64,
    value Nullable(Float64),
    p50 Nullable(Float64),
    p95 Nullable(Float64),
    p99 Nullable(Float64),
    histogram Map(Int32, Int64),
    complete Bool,
    revision UInt32,
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC')
)
ENGINE = MergeTree PARTITION BY toYYYYMM(start) ORDER BY (pipeline, metric, start, model_version, variant, revision)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS events
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    id String,
    source LowCardinality(String),
    type LowCardinality(String),
    subject String,
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    pipeline LowCardinality(String),
    data String CODEC(ZSTD(1))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time, id)
SETTINGS non_replicated_deduplication_window = 10000;
