-- How far the loader is: one row a partition of a topic.
CREATE TABLE IF NOT EXISTS load_progress (
    topic LowCardinality(String),
    topic_id LowCardinality(String) COMMENT 'the topic''s generation',
    partition Int32,
    end_offset Int64 COMMENT 'all records before it are in the table or in the dead letters',
    newest_ingest_time DateTime64(3, 'UTC'),
    loaded_at DateTime64(3, 'UTC')
)
ENGINE = ReplacingMergeTree(end_offset)
ORDER BY (topic, topic_id, partition)
-- No tokens: a row that comes again replaces itself.
SETTINGS non_replicated_deduplication_window = 0, replicated_deduplication_window = 0;
