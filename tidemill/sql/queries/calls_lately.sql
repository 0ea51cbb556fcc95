-- Answers that clients got in windows that start in [{since}, {until}), of each the highest revision, and the time that
-- these windows span (0: there are none).
SELECT sum(answers) AS answers, if(count() = 0, 0, max(ends) - min(start_ms)) AS span_ms
FROM
(
    SELECT start_ms, max(end_ms) AS ends, argMax(n, revision) AS answers FROM windows
    WHERE pipeline = {pipeline:String} AND metric = 'answers' AND role = 'client' AND slice = ''
        AND start >= fromUnixTimestamp64Milli({since:Int64}) AND start < fromUnixTimestamp64Milli({until:Int64})
    GROUP BY start_ms, model_version, variant
)
