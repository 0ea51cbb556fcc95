-- The {most} newest decisions on triggers since {since}, of each pipeline, newest first; each once.
SELECT * EXCEPT (_topic, _partition, _offset, _arrival_ms, time)
FROM
(
    SELECT * FROM decisions
    WHERE time >= fromUnixTimestamp64Milli({since:Int64})
    LIMIT 1 BY decision_id
)
ORDER BY pipeline, time_ms DESC, seq DESC
LIMIT {most:UInt32} BY pipeline
