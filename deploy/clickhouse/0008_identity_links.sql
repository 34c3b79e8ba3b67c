-- One row for two identifiers and a day on which one record carried both, or on which they were taken apart. Query it
-- with FINAL.
CREATE TABLE IF NOT EXISTS identity_links (
    account_id LowCardinality(String),
    first_kind LowCardinality(String),
    first_value String,
    second_kind LowCardinality(String),
    second_value String,
    event_time DateTime64(3, 'UTC') COMMENT 'the day',
    link_ingest_time DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    is_removed Bool,
    reason LowCardinality(String),
    origin_topic LowCardinality(String),
    origin_partition Nullable(Int32),
    origin_offset Nullable(Int64),
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree(ingest_time)
PARTITION BY toYYYYMM(event_time)
ORDER BY (account_id, first_kind, first_value, second_kind, second_value, event_time, is_removed)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;
