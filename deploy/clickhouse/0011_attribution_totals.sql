-- One row an ad (or the organic conversions) and day, or some days that end with it: the latest estimate. Query it with
-- FINAL. Rows of one day and of several never go into one sum.
CREATE TABLE IF NOT EXISTS attribution_totals (
    account_id LowCardinality(String),
    ad_account_id LowCardinality(String),
    ad_id String,
    is_organic Bool,
    day Date32 COMMENT 'of the clicks, UTC; of several days the last',
    days Int32,
    as_of DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    estimator_version LowCardinality(String),
    deterministic_micros Int64,
    expected_micros Int64,
    remainder_micros Int64,
    total_micros Int64,
    low_micros Int64,
    high_micros Int64,
    is_range_only Bool,
    value_micros Nullable(Int64),
    currency LowCardinality(String),
    holdout LowCardinality(String),
    incremental_micros Nullable(Int64),
    incremental_low_micros Nullable(Int64),
    incremental_high_micros Nullable(Int64),
    account_conversions_micros Int64,
    account_total_micros Int64,
    account_identifiers_micros Int64,
    account_evidence_micros Int64,
    account_withheld_micros Int64,
    disagreement Float64,
    is_alarm Bool,
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree(as_of)
PARTITION BY toYYYYMM(day)
ORDER BY (account_id, ad_account_id, ad_id, is_organic, day, days)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

-- Conversions attributed to each ad, by the latest estimate: with no figure where only the range is known. `conversions`
-- is attributed, not incremental.
CREATE VIEW IF NOT EXISTS totals_by_ad AS
SELECT
    account_id, ad_account_id, ad_id, is_organic, day, days, as_of, currency,
    if(is_range_only, NULL, total_micros / 1000000) AS conversions,
    low_micros / 1000000 AS low, high_micros / 1000000 AS high,
    deterministic_micros / 1000000 AS deterministic,
    expected_micros / 1000000 AS expected,
    remainder_micros / 1000000 AS remainder,
    toDecimal128(value_micros, 6) / 1000000 AS value,
    holdout, incremental_micros / 1000000 AS incremental,
    incremental_low_micros / 1000000 AS incremental_low, incremental_high_micros / 1000000 AS incremental_high,
    disagreement, is_alarm
FROM attribution_totals FINAL;
