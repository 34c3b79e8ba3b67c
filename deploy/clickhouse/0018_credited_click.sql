-- The click whose ad confidence_ad speaks of. It is empty for what was loaded before, until a newer version is.
ALTER TABLE attributed_conversions
    ADD COLUMN IF NOT EXISTS credited_click_id String COMMENT 'the click whose ad confidence_ad speaks of' AFTER confidence_ad;
