-- Every version of an attributed conversion, one row each, as it was first published. attributed_conversions keeps only
-- the newest; what it is given is copied here as it comes. Nothing is added up, and a version that comes again gives way
-- to itself, so that neither a repeated block nor a repeated record shows.
CREATE TABLE IF NOT EXISTS attribution_versions (
    account_id LowCardinality(String),
    conversion_id String,
    epoch Int64,
    facts_held Int64,
    event_name LowCardinality(String),
    event_time DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp of this version',
    value_micros Nullable(Int64),
    currency LowCardinality(String),
    origin_topic LowCardinality(String) COMMENT 'what arrived and caused this version',
    origin_partition Int32,
    origin_offset Int64,
    layer LowCardinality(String),
    confidence_person Nullable(Float64),
    confidence_ad Nullable(Float64),
    model_version LowCardinality(String),
    touchpoints Nested (click_id String, channel LowCardinality(String), ad_account_id LowCardinality(String), ad_id String),
    credits Nested (model LowCardinality(String), shares Array(Float64), value_micros Array(Int64)),
    kafka_offset Int64 COMMENT 'versions of a conversion are in one partition',
    precedence UInt128 MATERIALIZED bitNot(bitShiftLeft(toUInt128(toUnixTimestamp64Milli(ingest_time)), 64) + toUInt128(kafka_offset))
        COMMENT 'the earlier it was published the greater'
)
ENGINE = ReplacingMergeTree(precedence)
PARTITION BY toYYYYMM(event_time)
ORDER BY (account_id, conversion_id, epoch, facts_held)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

CREATE MATERIALIZED VIEW IF NOT EXISTS keep_attribution_versions TO attribution_versions AS
SELECT
    account_id, conversion_id, epoch, facts_held, event_name, event_time, ingest_time, value_micros, currency,
    origin_topic, origin_partition, origin_offset, layer, confidence_person, confidence_ad, model_version,
    touchpoints.click_id, touchpoints.channel, touchpoints.ad_account_id, touchpoints.ad_id,
    credits.model, credits.shares, credits.value_micros, kafka_offset
FROM attributed_conversions;

-- What was there before. A row that the view has copied meanwhile replaces itself.
INSERT INTO attribution_versions (
    account_id, conversion_id, epoch, facts_held, event_name, event_time, ingest_time, value_micros, currency,
    origin_topic, origin_partition, origin_offset, layer, confidence_person, confidence_ad, model_version,
    touchpoints.click_id, touchpoints.channel, touchpoints.ad_account_id, touchpoints.ad_id,
    credits.model, credits.shares, credits.value_micros, kafka_offset
)
SELECT
    account_id, conversion_id, epoch, facts_held, event_name, event_time, ingest_time, value_micros, currency,
    origin_topic, origin_partition, origin_offset, layer, confidence_person, confidence_ad, model_version,
    touchpoints.click_id, touchpoints.channel, touchpoints.ad_account_id, touchpoints.ad_id,
    credits.model, credits.shares, credits.value_micros, kafka_offset
FROM attributed_conversions;

-- Each version that another replaced, with what it said and what was said from then on. Versions are in the order of what
-- was known, not of when they were published: one that was published behind a greater one never counted, and is not
-- here. `credits` are tuples of model, shares and micros, in the order of the touchpoints.
CREATE VIEW IF NOT EXISTS attribution_revisions AS
SELECT
    account_id, conversion_id, event_name, event_time, epoch, facts_held, ingest_time AS published_at,
    layer, value_micros, currency, click_ids, channels, ad_account_ids, ad_ids, credits,
    newer.1 AS replaced_by_epoch, newer.2 AS replaced_by_facts_held, newer.3 AS replaced_at,
    newer.4 AS replaced_by_layer, newer.5 AS replaced_by_value_micros, newer.6 AS replaced_by_currency,
    newer.7 AS replaced_by_click_ids, newer.8 AS replaced_by_channels, newer.9 AS replaced_by_ad_account_ids,
    newer.10 AS replaced_by_ad_ids, newer.11 AS replaced_by_credits,
    newer.12 AS cause_topic, newer.13 AS cause_partition, newer.14 AS cause_offset
FROM (
    SELECT
        *,
        leadInFrame((
            epoch, facts_held, ingest_time, toString(layer), value_micros, toString(currency), click_ids, channels,
            ad_account_ids, ad_ids, credits, toString(origin_topic), origin_partition, origin_offset
        )) OVER versions AS newer,
        row_number() OVER versions AS number,
        count() OVER (PARTITION BY account_id, conversion_id) AS versions_held
    FROM (
        SELECT
            account_id, conversion_id, event_name, event_time, epoch, facts_held, ingest_time, layer, value_micros,
            currency, origin_topic, origin_partition, origin_offset,
            max((epoch, facts_held)) OVER until_then = (epoch, facts_held) AS has_counted,
            touchpoints.click_id AS click_ids,
            arrayMap(name -> toString(name), touchpoints.channel) AS channels,
            arrayMap(name -> toString(name), touchpoints.ad_account_id) AS ad_account_ids,
            touchpoints.ad_id AS ad_ids,
            arrayZip(
                arrayMap(name -> toString(name), attributed.credits.model), attributed.credits.shares,
                attributed.credits.value_micros
            ) AS credits
        FROM attribution_versions AS attributed FINAL
        WINDOW until_then AS (PARTITION BY account_id, conversion_id ORDER BY ingest_time, kafka_offset)
    )
    WHERE has_counted
    WINDOW versions AS (
        PARTITION BY account_id, conversion_id ORDER BY epoch, facts_held
        ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING
    )
)
WHERE number < versions_held;

-- What each revision took from an ad and gave to another, by model.
CREATE VIEW IF NOT EXISTS credit_revisions AS
SELECT
    account_id, conversion_id, event_name, event_time, epoch, facts_held, replaced_at,
    model, ad_account_id, ad_id, currency,
    sumIf(share, NOT is_after) AS conversions_before, sumIf(share, is_after) AS conversions_after,
    toDecimal128(sumIf(toInt128(micros), NOT is_after), 6) / 1000000 AS value_before,
    toDecimal128(sumIf(toInt128(micros), is_after), 6) / 1000000 AS value_after
FROM (
    SELECT
        account_id, conversion_id, event_name, event_time, epoch, facts_held, replaced_at, is_after,
        currency, credit.1 AS model,
        arrayZip(
            ad_account_ids, ad_ids, credit.2, if(empty(credit.3), arrayMap(share -> toInt64(0), credit.2), credit.3)
        ) AS parts
    FROM (
        SELECT *, false AS is_after FROM (
            SELECT
                account_id, conversion_id, event_name, event_time, epoch, facts_held, replaced_at,
                toString(currency) AS currency, ad_account_ids, ad_ids, credits
            FROM attribution_revisions
        )
        UNION ALL
        SELECT *, true AS is_after FROM (
            SELECT
                account_id, conversion_id, event_name, event_time, epoch, facts_held, replaced_at,
                replaced_by_currency AS currency, replaced_by_ad_account_ids AS ad_account_ids,
                replaced_by_ad_ids AS ad_ids, replaced_by_credits AS credits
            FROM attribution_revisions
        )
    )
    ARRAY JOIN credits AS credit
)
ARRAY JOIN
    parts.1 AS ad_account_id, parts.2 AS ad_id, parts.3 AS share, parts.4 AS micros
GROUP BY
    account_id, conversion_id, event_name, event_time, epoch, facts_held, replaced_at, model,
    ad_account_id, ad_id, currency;
