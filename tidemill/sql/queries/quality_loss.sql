-- Mean quality of clients' answers before and since {since}, by the call's time, from {start} on, each score once; NULL
-- without scores.
SELECT
    countIf(call_time_ms < {since:Int64}) AS n_before,
    if(n_before = 0, NULL, avgIf(score, call_time_ms < {since:Int64})) AS mean_before,
    countIf(call_time_ms >= {since:Int64}) AS n_since,
    if(n_since = 0, NULL, avgIf(score, call_time_ms >= {since:Int64})) AS mean_since
FROM
(
    SELECT call_time_ms, score FROM feedback
    WHERE pipeline = {pipeline:String} AND time >= fromUnixTimestamp64Milli({start:Int64})
        AND call_time_ms >= {start:Int64} AND metric = {metric:String} AND score IS NOT NULL AND variant != 'shadow'
    LIMIT 1 BY feedback_id
)
