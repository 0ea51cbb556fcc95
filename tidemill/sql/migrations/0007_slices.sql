-- Figures of a slice (`tenant=acme`) stand beside those of the whole, which has none: sums over windows take `slice = ''`.

ALTER TABLE windows ADD COLUMN IF NOT EXISTS slice LowCardinality(String) DEFAULT '' AFTER role;

-- What an answer is sliced by, beside its tenant. Answers of before say nothing.

ALTER TABLE responses ADD COLUMN IF NOT EXISTS prompt_version LowCardinality(String) DEFAULT '' AFTER tenant;
ALTER TABLE responses ADD COLUMN IF NOT EXISTS attributes Map(String, String) AFTER prompt_version;
