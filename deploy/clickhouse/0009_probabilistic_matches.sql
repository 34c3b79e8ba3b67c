-- What a conversion was matched by evidence for, and whether that is sure enough.
ALTER TABLE attributed_conversions
    ADD COLUMN IF NOT EXISTS is_used_for_reporting Bool DEFAULT true AFTER candidates.probability,
    ADD COLUMN IF NOT EXISTS is_used_for_optimisation Bool DEFAULT true AFTER is_used_for_reporting;
