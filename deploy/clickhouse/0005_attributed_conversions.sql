-- One row a conversion_id: the version with the greatest (epoch, facts held). Query it with FINAL.
CREATE TABLE IF NOT EXISTS attributed_conversions (
    account_id LowCardinality(String),
    conversion_id String,
    event_name LowCardinality(String),
    event_time DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp of this version',
    conversion_ingest_time DateTime64(3, 'UTC'),
    pixel_id String,
    ad_account_id LowCardinality(String),
    order_id String,
    value_micros Nullable(Int64),
    currency LowCardinality(String),
    click_id String,
    visitor_id String,
    lead_id String,
    action_source LowCardinality(String),
    consent LowCardinality(String),
    limited_data_use Bool,
    epoch Int64,
    facts_held Int64,
    origin_topic LowCardinality(String),
    origin_topic_id LowCardinality(String),
    origin_partition Int32,
    origin_offset Int64,
    layer LowCardinality(String),
    confidence_person Nullable(Float64),
    confidence_ad Nullable(Float64),
    probability_none Nullable(Float64),
    margin Nullable(Float64),
    candidates Nested (click_id String, ad_id String, probability Float64),
    lookback_window_s Int64,
    model_version LowCardinality(String),
    touchpoints Nested (
        click_id String,
        visitor_id String,
        event_time DateTime64(3, 'UTC'),
        interaction LowCardinality(String),
        channel LowCardinality(String),
        ad_account_id LowCardinality(String),
        campaign_id String,
        adset_id String,
        ad_id String,
        creative_id String
    ),
    credits Nested (model LowCardinality(String), shares Array(Float64), value_micros Array(Int64)),
    kafka_partition Int32,
    kafka_offset Int64,
    version UInt128 MATERIALIZED bitShiftLeft(toUInt128(greatest(epoch, 0)), 64) + toUInt128(greatest(facts_held, 0))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(event_time)
ORDER BY (account_id, conversion_id)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;
