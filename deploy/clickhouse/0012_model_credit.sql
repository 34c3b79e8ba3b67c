-- How many journeys of an account took each path, by what came of them. Ask it with the account, the event_name of the
-- conversions meant, the lookback window and a period, all of which it needs:
--   SELECT * FROM path_counts(account = 'acme', event = 'Purchase', since_ms = 1767225600000, until_ms = 1769817600000,
--                             lookback_s = 2592000)
-- A conversion in [since, until) is a journey along its touchpoints. Clicks before `until` that no such conversion took
-- are, by visitor, journeys without one: a journey is over when nothing was clicked for the length of the lookback
-- window, counts in the period in which that was so, and its path is what a conversion at its last click would have
-- taken. Nothing at or after `until` has any part in the result. More than 500 clicks are not a person's.
-- All months of the account are read, however short the period: a correction may have moved a click out of one.
CREATE VIEW IF NOT EXISTS path_counts AS
WITH
    {lookback_s:Int64} * 1000 AS lookback_ms,
    {since_ms:Int64} - 2 * lookback_ms AS earliest_ms
SELECT
    path, currency,
    countIf(NOT is_null) AS conversions,
    count(micros) AS valued,
    toDecimal128(sum(toInt128(ifNull(micros, 0))), 0) AS value_micros,
    countIf(is_null) AS nulls
FROM (
    SELECT
        arrayMap(channel -> toString(channel), touchpoints.channel) AS path, toString(currency) AS currency,
        value_micros AS micros, false AS is_null
    FROM attributed_conversions FINAL
    WHERE account_id = {account:String} AND event_name = {event:String} AND notEmpty(path)
        AND toUnixTimestamp64Milli(event_time) >= {since_ms:Int64}
        AND toUnixTimestamp64Milli(event_time) < {until_ms:Int64}
    UNION ALL
    SELECT
        arrayMap(click -> click.3, arrayFilter(click -> click.1 >= stretch[-1].1 - lookback_ms, stretch)) AS path,
        '' AS currency, CAST(NULL, 'Nullable(Int64)') AS micros, true AS is_null
    FROM (
        SELECT arraySort(groupArray((toUnixTimestamp64Milli(event_time), click_id, toString(channel)))) AS clicks
        FROM clicks FINAL
        WHERE account_id = {account:String}
            AND toUnixTimestamp64Milli(event_time) >= earliest_ms
            AND toUnixTimestamp64Milli(event_time) < {until_ms:Int64}
            AND click_id NOT IN (
                SELECT arrayJoin(touchpoints.click_id)
                FROM attributed_conversions FINAL
                WHERE account_id = {account:String} AND event_name = {event:String}
                    AND toUnixTimestamp64Milli(event_time) >= earliest_ms
                    AND toUnixTimestamp64Milli(event_time) < {until_ms:Int64}
            )
        GROUP BY visitor_id, if(visitor_id = '', click_id, '')
    )
    ARRAY JOIN arraySplit(
        (click, before) -> click.1 - before.1 > lookback_ms, clicks, arrayPushFront(arrayPopBack(clicks), clicks[1])
    ) AS stretch
    WHERE stretch[-1].1 + lookback_ms >= {since_ms:Int64} AND stretch[-1].1 + lookback_ms < {until_ms:Int64}
        AND length(path) <= 500
)
GROUP BY path, currency;

-- One row a model, order and time it was computed for: all versions there were. Query it with FINAL.
CREATE TABLE IF NOT EXISTS model_credit_versions (
    account_id LowCardinality(String),
    event_name LowCardinality(String),
    model LowCardinality(String),
    chain_order Int32 COMMENT '0 for a model without a chain',
    as_of DateTime64(3, 'UTC') COMMENT 'nothing that happened at or after it counts',
    epoch Int64,
    records_read Int64,
    cut Nested (topic LowCardinality(String), topic_id LowCardinality(String), partition Int32, end_offset Int64),
    period_s Int64,
    lookback_window_s Int64,
    model_version LowCardinality(String),
    settings LowCardinality(String),
    paths Int64,
    conversions Int64,
    nulls Int64,
    channels Nested (channel LowCardinality(String), conversions Float64),
    amounts Nested (currency LowCardinality(String), value_micros Array(Int64)),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    kafka_partition Int32,
    kafka_offset Int64,
    version UInt128 MATERIALIZED bitShiftLeft(toUInt128(greatest(epoch, 0)), 64) + toUInt128(greatest(records_read, 0))
)
ENGINE = ReplacingMergeTree(version)
PARTITION BY toYYYYMM(as_of)
ORDER BY (account_id, event_name, model, chain_order, as_of)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

-- Credit of channels by the newest version of each model. Values of several currencies stay apart: `value` maps each
-- currency to the channel's part of it.
CREATE VIEW IF NOT EXISTS model_credit AS
SELECT
    account_id, event_name, model, chain_order, channel, channel_conversions AS conversions,
    mapFromArrays(
        arrayMap(currency -> toString(currency), amounts.currency),
        arrayMap(parts -> toDecimal128(parts[place], 6) / 1000000, amounts.value_micros)
    ) AS value,
    as_of, period_s, lookback_window_s, newest.conversions AS all_conversions, nulls, ingest_time
FROM (
    SELECT *
    FROM model_credit_versions FINAL
    ORDER BY epoch DESC, as_of DESC
    LIMIT 1 BY account_id, event_name, model, chain_order
) AS newest
ARRAY JOIN
    channels.channel AS channel, channels.conversions AS channel_conversions, arrayEnumerate(channels.channel) AS place;
