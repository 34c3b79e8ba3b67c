-- One row a conversion_id, as published: what it was attributed to is in attributed_conversions.
CREATE TABLE IF NOT EXISTS conversions (
    account_id LowCardinality(String),
    conversion_id String,
    event_name LowCardinality(String),
    event_time DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    source_version Int64,
    pixel_id String,
    ad_account_id LowCardinality(String),
    order_id String,
    value_micros Nullable(Int64),
    currency LowCardinality(String),
    click_id String,
    visitor_id String,
    lead_id String,
    fbclid String,
    fbp String,
    fbc String,
    gclid String,
    email_sha256 String,
    phone_sha256 String,
    external_id_sha256 String,
    browser LowCardinality(String) COMMENT 'family and major version',
    os LowCardinality(String),
    device LowCardinality(String),
    ip_network String COMMENT '/24 of IPv4, /48 of IPv6',
    language LowCardinality(String),
    time_zone LowCardinality(String),
    screen_width Nullable(Int32),
    screen_height Nullable(Int32),
    action_source LowCardinality(String),
    event_source_page String COMMENT 'without query',
    consent LowCardinality(String),
    limited_data_use Bool,
    kafka_partition Int32,
    kafka_offset Int64,
    version UInt128 MATERIALIZED bitShiftLeft(toUInt128(toInt128(source_version) + 9223372036854775808), 64) + toUnixTimestamp64Milli(ingest_time)
        COMMENT 'orders by source_version, of which a negative one is the least, then by ingest_time'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(event_time)
ORDER BY (account_id, conversion_id)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;
