-- Of which slices a judged call is, by dimension. Feedback of before says nothing: it counts in the whole alone.

ALTER TABLE feedback ADD COLUMN IF NOT EXISTS slices Map(String, String);
