-- What answers to clients of one version in [{since}, {until}) and their questions tell of themselves, in order of
-- time; beyond {most}, those that the hash of their call chooses. agreement: with a second answer, where one has landed.
SELECT s.mean_logprob AS mean_logprob, if(a.call_id = '', NULL, a.agreement) AS agreement, r.words AS words
FROM
(
    SELECT call_id, any(time_ms) AS at, any(mean_logprob) AS mean_logprob FROM responses
    WHERE pipeline = {pipeline:String} AND model_version = {version:String} AND role = 'client' AND status = 'ok'
        AND time >= fromUnixTimestamp64Milli({since:Int64}) AND time < fromUnixTimestamp64Milli({until:Int64})
    GROUP BY call_id ORDER BY cityHash64(call_id) LIMIT {most:UInt32}
) AS s
INNER JOIN
(
    SELECT call_id, any(input_words) AS words FROM requests
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({early:Int64})
        AND time < fromUnixTimestamp64Milli({until:Int64})
    GROUP BY call_id
) AS r ON r.call_id = s.call_id
LEFT JOIN
(
    SELECT call_id, any(output_features['agreement']) AS agreement FROM responses
    WHERE pipeline = {pipeline:String} AND model_version = {version:String} AND role = 'shadow'
        AND time >= fromUnixTimestamp64Milli({since:Int64}) AND mapContains(output_features, 'agreement')
    GROUP BY call_id
) AS a ON a.call_id = s.call_id
ORDER BY s.at, s.call_id
