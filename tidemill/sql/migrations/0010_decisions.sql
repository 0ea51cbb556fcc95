-- Decisions of the trigger policy, "not now" among them: (trigger_id, seq) names one; of a trigger the highest seq holds.

CREATE TABLE IF NOT EXISTS decisions
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    _arrival_ms Int64 DEFAULT 0,
    decision_id String,
    trigger_id String,
    seq UInt32,
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    pipeline LowCardinality(String),
    trigger LowCardinality(String),
    attempt UInt32,
    act LowCardinality(String),
    cause LowCardinality(String),
    reasons String,
    signals String,
    again_ms Nullable(Int64),
    job_id String,
    champion_version String
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time, trigger_id, seq)
SETTINGS non_replicated_deduplication_window = 10000;
