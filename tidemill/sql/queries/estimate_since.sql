-- Upper end of the newest estimate of quality without labels whose calls were all answered at or after {since}.
SELECT argMax(value, start_ms) AS high, count() AS n FROM windows
WHERE pipeline = {pipeline:String} AND metric = 'quality_estimate_high' AND start_ms >= {since:Int64}
    AND start >= fromUnixTimestamp64Milli({since:Int64}) AND value IS NOT NULL
