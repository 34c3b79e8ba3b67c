-- One row a hold-out test of an account, campaign or ad: the last word on it. Query it with FINAL.
CREATE TABLE IF NOT EXISTS holdouts (
    account_id LowCardinality(String),
    scope LowCardinality(String) COMMENT 'account, campaign or ad',
    scope_id String COMMENT 'the campaign or ad; empty for the account',
    test String,
    from_day Date32,
    to_day Date32,
    incremental_share Float64 COMMENT 'incremental conversions for each that is attributed',
    low Float64 COMMENT 'where its 95 % interval begins',
    high Float64,
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree(ingest_time)
ORDER BY (account_id, scope, scope_id, test)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;
