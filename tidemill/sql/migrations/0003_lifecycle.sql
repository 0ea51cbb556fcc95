-- The history of jobs, rollouts and routes: one row per recorded state; the row of highest seq (epoch) is the state now.

CREATE TABLE IF NOT EXISTS jobs
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    job_id String,
    seq UInt32,
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    pipeline LowCardinality(String),
    phase LowCardinality(String),
    reason String,
    alarm_id String,
    candidate_version String,
    state String CODEC(ZSTD(1))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time, job_id, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS progress
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    job_id String,
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    pipeline LowCardinality(String),
    phase LowCardinality(String),
    done UInt32,
    of UInt32,
    loss Nullable(Float64),
    note String
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (job_id, time)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS rollouts
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    rollout_id String,
    seq UInt32,
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    pipeline LowCardinality(String),
    phase LowCardinality(String),
    reason String,
    candidate_version String,
    champion_version String,
    weight UInt32,
    state String CODEC(ZSTD(1))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time, rollout_id, seq)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS routes
(
    _topic LowCardinality(String),
    _partition UInt32,
    _offset UInt64,
    pipeline LowCardinality(String),
    epoch UInt32,
    time_ms Int64,
    time DateTime64(3, 'UTC') DEFAULT fromUnixTimestamp64Milli(time_ms, 'UTC'),
    reason String,
    rollout_id String,
    state String CODEC(ZSTD(1))
)
ENGINE = MergeTree PARTITION BY toYYYYMM(time) ORDER BY (pipeline, time, epoch)
SETTINGS non_replicated_deduplication_window = 10000;
