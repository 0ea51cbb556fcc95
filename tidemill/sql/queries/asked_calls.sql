-- What was asked in calls made in [{since}, {until}); the newest {most} of them.
SELECT call_id, gen_ai_conversation_id AS session, assumeNotNull(gen_ai_input_messages) AS messages FROM requests
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND time < fromUnixTimestamp64Milli({until:Int64}) AND gen_ai_input_messages IS NOT NULL
ORDER BY time_ms DESC, call_id LIMIT 1 BY call_id
LIMIT {most:UInt32}
