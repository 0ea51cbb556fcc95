-- What machines, their GPUs and the engines on them say of themselves, every few seconds: one row a part and look.

CREATE TABLE IF NOT EXISTS hosts
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    _arrival_ms Int64 DEFAULT 0,
    host LowCardinality(String),
    part LowCardinality(String),
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    figures Map(String, Float64)
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (host, part, time)
SETTINGS non_replicated_deduplication_window = 10000;
