-- Where the answers to clients stand in their topic, of calls made in [{since}, {until}) that have a label or correction
-- told before {told_until}.
SELECT
    _topic AS topic,
    _partition AS partition,
    min(_offset) AS first_offset,
    max(_offset) AS last_offset,
    count() AS messages
FROM responses
WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
    AND call_time_ms >= {since:Int64} AND call_time_ms < {until:Int64}
    AND role = 'client' AND status = 'ok' AND gen_ai_output_text IS NOT NULL
    AND call_id IN
    (
        SELECT call_id FROM feedback
        WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
            AND time < fromUnixTimestamp64Milli({told_until:Int64})
            AND call_time_ms >= {since:Int64} AND call_time_ms < {until:Int64}
            AND kind IN ('label', 'correction') AND value IS NOT NULL
    )
GROUP BY topic, partition
ORDER BY topic, partition
