-- When a message arrived in Kafka (its time stamp there): an event never counts later than that plus the allowed skew.

ALTER TABLE requests ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;
ALTER TABLE responses ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;
ALTER TABLE feedback ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;
ALTER TABLE windows ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;
ALTER TABLE events ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;
ALTER TABLE jobs ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;
ALTER TABLE progress ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;
ALTER TABLE rollouts ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;
ALTER TABLE routes ADD COLUMN IF NOT EXISTS _arrival_ms Int64 DEFAULT 0 AFTER _offset;

-- Which share of the calls a metric looked at.

ALTER TABLE windows ADD COLUMN IF NOT EXISTS sample_share Float64 DEFAULT 1 AFTER histogram;
