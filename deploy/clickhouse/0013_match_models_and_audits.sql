-- One row a version of a tenant's model of matching, without the model: what it was learned from, and since when it is
-- in force.
CREATE TABLE IF NOT EXISTS match_models (
    account_id LowCardinality(String),
    version String COMMENT 'empty where there is none any more',
    calibration_version String COMMENT 'empty where no audits calibrate it',
    in_force_from DateTime64(3, 'UTC'),
    learned_time DateTime64(3, 'UTC'),
    from_time DateTime64(3, 'UTC'),
    to_time DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    conversions Int64,
    identifier_matches Int64,
    clicks Int64,
    audits Int64,
    organic_share Nullable(Float64),
    unreached_share Nullable(Float64),
    reason String,
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree(ingest_time)
ORDER BY (account_id, in_force_from, kafka_partition, kafka_offset)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

-- One row a conversion that was looked into: the last word on it. Query it with FINAL.
CREATE TABLE IF NOT EXISTS audits (
    account_id LowCardinality(String),
    conversion_id String,
    ad_id String COMMENT 'empty where no ad led to it',
    person String COMMENT 'a click_id or visitor_id of the buyer''s',
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree(ingest_time)
ORDER BY (account_id, conversion_id)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;
