-- One row an ad, day and breakdown: the snapshot with the latest as-of time. Never sum over breakdowns.
CREATE TABLE IF NOT EXISTS ad_performance (
    account_id LowCardinality(String),
    ad_account_id LowCardinality(String),
    ad_id String,
    adset_id String,
    campaign_id String,
    day Date32 COMMENT 'in the ad account''s time zone',
    time_zone LowCardinality(String),
    breakdown LowCardinality(String),
    breakdown_value String,
    as_of DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    spend_micros Int64,
    currency LowCardinality(String),
    impressions Int64,
    clicks Int64,
    link_clicks Nullable(Int64),
    reach Nullable(Int64),
    actions Nested (action_type LowCardinality(String), count Float64, value_micros Int64),
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree(as_of)
PARTITION BY toYYYYMM(day)
ORDER BY (account_id, ad_account_id, ad_id, day, breakdown, breakdown_value)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;
