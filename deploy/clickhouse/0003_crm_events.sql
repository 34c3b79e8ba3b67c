-- One row a change of a deal's stage.
CREATE TABLE IF NOT EXISTS crm_events (
    account_id LowCardinality(String),
    event_id String,
    portal_id LowCardinality(String),
    deal_id String,
    event_time DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    source_version Int64,
    contact_id String,
    pipeline_id LowCardinality(String),
    from_stage LowCardinality(String),
    to_stage LowCardinality(String),
    stage_entered_time Nullable(DateTime64(3, 'UTC')),
    deal_created_time Nullable(DateTime64(3, 'UTC')),
    lead_created_time Nullable(DateTime64(3, 'UTC')),
    amount_micros Nullable(Int64),
    currency LowCardinality(String),
    outcome LowCardinality(String),
    close_reason String,
    ad_account_id LowCardinality(String),
    campaign_id String,
    adset_id String,
    ad_id String,
    click_id String,
    visitor_id String,
    lead_id String,
    fbclid String,
    fbp String,
    gclid String,
    email_sha256 String,
    phone_sha256 String,
    external_id_sha256 String,
    consent LowCardinality(String),
    limited_data_use Bool,
    kafka_partition Int32,
    kafka_offset Int64,
    version UInt128 MATERIALIZED bitShiftLeft(toUInt128(toInt128(source_version) + 9223372036854775808), 64) + toUnixTimestamp64Milli(ingest_time)
        COMMENT 'orders by source_version, of which a negative one is the least, then by ingest_time'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(event_time)
ORDER BY (account_id, event_id)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;
