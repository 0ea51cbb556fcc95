-- One row per label or correction of a call made at or after {since}: enough to count, without the text.
SELECT
    r.gen_ai_conversation_id AS session,
    f.source AS source,
    toString(cityHash64(assumeNotNull(r.gen_ai_input_messages))) AS prompt
FROM
(
    SELECT call_id, source FROM feedback
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
        AND call_time_ms >= {since:Int64} AND kind IN ('label', 'correction') AND value IS NOT NULL
) AS f
INNER JOIN
(
    SELECT call_id, gen_ai_conversation_id, gen_ai_input_messages FROM requests
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
        AND gen_ai_input_messages IS NOT NULL
) AS r ON f.call_id = r.call_id
LIMIT {most:UInt32}
