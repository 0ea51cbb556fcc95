-- The language of the users' text: an ISO 639 code, empty where it is not known. Rows of before say nothing.

ALTER TABLE requests ADD COLUMN IF NOT EXISTS input_language LowCardinality(String) DEFAULT '';
ALTER TABLE responses ADD COLUMN IF NOT EXISTS input_language LowCardinality(String) DEFAULT '' AFTER attributes;
