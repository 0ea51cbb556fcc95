-- How many calls of [{since}, {until}) that a version answered (clients' answers) had labels before {until}.
SELECT uniqExact(call_id) AS calls
FROM responses
WHERE pipeline = {pipeline:String} AND model_version = {version:String} AND role = 'client'
    AND time >= fromUnixTimestamp64Milli({since:Int64}) AND call_time_ms >= {since:Int64} AND call_time_ms < {until:Int64}
    AND call_id IN
    (
        SELECT call_id FROM feedback
        WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
            AND time < fromUnixTimestamp64Milli({until:Int64}) AND kind IN ('label', 'correction') AND value IS NOT NULL
    )
