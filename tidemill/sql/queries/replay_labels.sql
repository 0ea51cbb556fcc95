-- Labels and corrections given in [{since}, {until}) of calls at most a day older whose text is kept; in order.
SELECT
    f.time_ms AS time_ms,
    f.call_time_ms AS call_time_ms,
    r.gen_ai_conversation_id AS session,
    f.source AS source,
    toString(cityHash64(assumeNotNull(r.gen_ai_input_messages))) AS prompt
FROM
(
    SELECT feedback_id, call_id, time_ms, call_time_ms, source FROM feedback
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
        AND time < fromUnixTimestamp64Milli({until:Int64}) AND kind IN ('label', 'correction') AND value IS NOT NULL
    LIMIT 1 BY feedback_id
) AS f
INNER JOIN
(
    SELECT call_id, gen_ai_conversation_id, gen_ai_input_messages FROM requests
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64} - 86400000)
        AND time < fromUnixTimestamp64Milli({until:Int64}) AND gen_ai_input_messages IS NOT NULL
    LIMIT 1 BY call_id
) AS r ON f.call_id = r.call_id
ORDER BY time_ms, f.feedback_id
