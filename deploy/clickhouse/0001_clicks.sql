-- One row a click_id: the content with the greatest source version, then the newest. Query it with FINAL.
CREATE TABLE IF NOT EXISTS clicks (
    account_id LowCardinality(String),
    click_id String,
    visitor_id String,
    event_time DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    source_version Int64,
    interaction LowCardinality(String),
    channel LowCardinality(String),
    ad_account_id LowCardinality(String),
    campaign_id String,
    adset_id String,
    ad_id String,
    creative_id String,
    landing_page String COMMENT 'without query',
    referrer_page String COMMENT 'without query',
    utm_source LowCardinality(String),
    utm_medium LowCardinality(String),
    utm_campaign String,
    utm_term String,
    utm_content String,
    utm_id String,
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
    consent LowCardinality(String),
    limited_data_use Bool,
    kafka_partition Int32,
    kafka_offset Int64,
    version UInt128 MATERIALIZED bitShiftLeft(toUInt128(toInt128(source_version) + 9223372036854775808), 64) + toUnixTimestamp64Milli(ingest_time)
        COMMENT 'orders by source_version, of which a negative one is the least, then by ingest_time'
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(event_time)
ORDER BY (account_id, click_id)
-- Longer than any outage: a block that is tried again after it must still be known by its token.
SETTINGS non_replicated_deduplication_window = 10000;
