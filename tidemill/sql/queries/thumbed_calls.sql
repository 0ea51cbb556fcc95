-- Thumbs told before {told_until} of calls made in [{since}, {until}), with what was asked and answered; the newest
-- {most} of them.
SELECT
    f.call_id AS call_id,
    f.call_time_ms AS call_time_ms,
    f.time_ms AS label_time_ms,
    r.gen_ai_conversation_id AS session,
    r.tenant AS tenant,
    f.source AS source,
    'thumb' AS kind,
    assumeNotNull(r.gen_ai_input_messages) AS messages,
    s.answer AS label,
    f.liked AS liked
FROM
(
    SELECT call_id, call_time_ms, time_ms, source, assumeNotNull(score) >= 0.5 AS liked FROM feedback
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
        AND time < fromUnixTimestamp64Milli({told_until:Int64})
        AND call_time_ms >= {since:Int64} AND call_time_ms < {until:Int64} AND kind = 'thumb' AND score IS NOT NULL
    ORDER BY time_ms DESC, feedback_id LIMIT 1 BY call_id, source
) AS f
INNER JOIN
(
    SELECT call_id, gen_ai_conversation_id, tenant, gen_ai_input_messages FROM requests
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
        AND time < fromUnixTimestamp64Milli({until:Int64}) AND gen_ai_input_messages IS NOT NULL
    LIMIT 1 BY call_id
) AS r ON f.call_id = r.call_id
INNER JOIN
(
    SELECT call_id, argMin(assumeNotNull(gen_ai_output_text), answer_id) AS answer FROM responses
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({since:Int64})
        AND call_time_ms >= {since:Int64} AND call_time_ms < {until:Int64}
        AND role = 'client' AND status = 'ok' AND gen_ai_output_text IS NOT NULL
    GROUP BY call_id
) AS s ON f.call_id = s.call_id
ORDER BY call_time_ms DESC, call_id, label_time_ms, source
LIMIT {most:UInt32}
