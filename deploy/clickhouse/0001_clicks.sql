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
-- How many blocks the table knows by their tokens. A block whose answer was lost is repeated under its token, when its
-- partition is loaded again at the latest. Until then the other partitions go on, each with up to a block every
-- loader.flush_interval_s, which counts once for each month it has rows of: with 4 partitions, 1 s and 2 months that
-- is 8 a second, 690,000 a day. A block is known for about a day and a half of one partition standing still; an outage
-- of them all takes nothing from it. It costs 150 bytes of disk and about as much memory. With more partitions, raise
-- it (docs/operations.md). The other two stand for a replicated table: Keeper holds fewer, and forgets them by age.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;
