-- Scores of clients' answers of one version, of [{since}, {until}) in order of their time, with what the answer and its
-- question tell of themselves; of sources {sources} only, of calls from {early} on. The first {most} of them;
-- known: whether answer and question are there (they may have expired, or not landed yet).
WITH labels AS
(
    SELECT feedback_id, call_id, time_ms, call_time_ms, assumeNotNull(score) AS score FROM feedback
    WHERE pipeline = {pipeline:String} AND model_version = {version:String} AND variant != 'shadow'
        AND metric = {metric:String} AND score IS NOT NULL AND label_source IN {sources:Array(String)}
        AND time >= fromUnixTimestamp64Milli({since:Int64}) AND time < fromUnixTimestamp64Milli({until:Int64})
        AND call_time_ms >= {early:Int64}
    ORDER BY time_ms, feedback_id LIMIT 1 BY feedback_id LIMIT {most:UInt32}
)
SELECT f.feedback_id AS feedback_id, f.time_ms AS time_ms, f.score AS score, s.mean_logprob AS mean_logprob, r.words AS words,
    if(a.call_id = '', NULL, a.agreement) AS agreement,
    s.call_id != '' AND r.call_id != '' AS known
FROM labels AS f
LEFT JOIN
(
    SELECT call_id, any(mean_logprob) AS mean_logprob FROM responses
    WHERE pipeline = {pipeline:String} AND model_version = {version:String} AND role = 'client'
        AND time >= fromUnixTimestamp64Milli(greatest({early:Int64}, (SELECT min(call_time_ms) FROM labels)))
        AND call_id IN (SELECT call_id FROM labels)
    GROUP BY call_id
) AS s ON s.call_id = f.call_id
LEFT JOIN
(
    SELECT call_id, any(input_words) AS words FROM requests
    WHERE pipeline = {pipeline:String}
        AND time >= fromUnixTimestamp64Milli(greatest({early:Int64}, (SELECT min(call_time_ms) FROM labels)))
        AND call_id IN (SELECT call_id FROM labels)
    GROUP BY call_id
) AS r ON r.call_id = f.call_id
LEFT JOIN
(
    SELECT call_id, any(output_features['agreement']) AS agreement FROM responses
    WHERE pipeline = {pipeline:String} AND model_version = {version:String} AND role = 'shadow'
        AND time >= fromUnixTimestamp64Milli(greatest({early:Int64}, (SELECT min(call_time_ms) FROM labels)))
        AND call_id IN (SELECT call_id FROM labels) AND mapContains(output_features, 'agreement')
    GROUP BY call_id
) AS a ON a.call_id = f.call_id
ORDER BY time_ms, feedback_id
