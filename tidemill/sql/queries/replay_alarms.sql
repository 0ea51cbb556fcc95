-- Alarms on quality and notices of drift in [{since}, {until}), beginnings and ends, each once, in order.
SELECT id, source, type, subject, time_ms, data
FROM events
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND time < fromUnixTimestamp64Milli({until:Int64}) AND JSONExtractString(data, 'kind') IN ('quality', 'drift')
ORDER BY time_ms, id
LIMIT 1 BY id
