-- One row a deal: the clicks that led to it, in the version with the greatest (epoch, facts held). What has become of the
-- deal is in crm_events. Query it with FINAL.
CREATE TABLE IF NOT EXISTS deal_matches (
    account_id LowCardinality(String),
    deal_id String,
    window_end_time DateTime64(3, 'UTC') COMMENT 'when the lead was created, else the deal, else the first stage known was entered',
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp of this version',
    deal_ingest_time DateTime64(3, 'UTC'),
    epoch Int64,
    facts_held Int64,
    origin_topic LowCardinality(String),
    origin_topic_id LowCardinality(String),
    origin_partition Int32,
    origin_offset Int64,
    layer LowCardinality(String),
    confidence_person Nullable(Float64),
    confidence_ad Nullable(Float64),
    credited_click_id String,
    lookback_window_s Int64,
    model_version LowCardinality(String),
    touchpoints Nested (
        click_id String,
        visitor_id String,
        event_time DateTime64(3, 'UTC'),
        interaction LowCardinality(String),
        channel LowCardinality(String),
        ad_account_id LowCardinality(String),
        campaign_id String,
        adset_id String,
        ad_id String,
        creative_id String
    ),
    credits Nested (model LowCardinality(String), shares Array(Float64)),
    kafka_partition Int32,
    kafka_offset Int64,
    version UInt128 MATERIALIZED bitShiftLeft(toUInt128(greatest(epoch, 0)), 64) + toUInt128(greatest(facts_held, 0))
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (account_id, deal_id)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

-- Each deal as it was last heard of. An amount counts until another is given, with its currency; so does an outcome.
CREATE VIEW IF NOT EXISTS deals AS
SELECT
    account_id, deal_id,
    argMax(events.pipeline_id, at) AS pipeline_id, argMax(events.to_stage, at) AS stage,
    if(countIf(events.outcome != '') > 0, argMaxIf(toString(events.outcome), at, events.outcome != ''), 'open') AS outcome,
    argMaxIf(events.close_reason, at, events.close_reason != '') AS close_reason,
    argMaxIf(events.amount_micros, at, events.amount_micros IS NOT NULL) AS amount_micros,
    argMaxIf(toString(events.currency), at, events.amount_micros IS NOT NULL) AS currency,
    min(events.event_time) AS first_event_time, max(events.event_time) AS last_event_time
FROM (SELECT *, (event_time, ingest_time, kafka_offset) AS at FROM crm_events FINAL) AS events
GROUP BY account_id, deal_id;

-- What has become of the deals each ad led to: the newest state of each, joined to its match. Amounts are divided to whole
-- micros, which sum to the amount: of each touchpoint the rounded sum up to it, less that up to the one before.
CREATE VIEW IF NOT EXISTS deals_by_ad AS
SELECT
    account_id, model, ad_account_id, campaign_id, adset_id, ad_id, lead_day, pipeline_id, stage, outcome, currency,
    sum(share) AS deals,
    toDecimal128(sum(toInt128(micros)), 6) / 1000000 AS value
FROM (
    SELECT
        matched.account_id AS account_id, matched.lead_day AS lead_day, matched.model AS model,
        deal.pipeline_id AS pipeline_id, deal.stage AS stage, deal.outcome AS outcome, deal.currency AS currency,
        arrayMap(
            (sum_to, place) -> if(
                place = length(matched.shares), ifNull(deal.amount_micros, 0),
                toInt64(round(ifNull(deal.amount_micros, 0) * sum_to))
            ),
            arrayCumSum(matched.shares), arrayEnumerate(matched.shares)
        ) AS sums,
        arrayZip(
            matched.ad_account_ids, matched.campaign_ids, matched.adset_ids, matched.ad_ids, matched.shares,
            arrayMap((upto, before) -> upto - before, sums, arrayPopBack(arrayPushFront(sums, toInt64(0))))
        ) AS parts
    FROM (
        SELECT
            account_id, deal_id, toDate(window_end_time) AS lead_day, model, shares,
            touchpoints.ad_account_id AS ad_account_ids, touchpoints.campaign_id AS campaign_ids,
            touchpoints.adset_id AS adset_ids, touchpoints.ad_id AS ad_ids
        FROM deal_matches FINAL
        ARRAY JOIN credits.model AS model, credits.shares AS shares
    ) AS matched
    INNER JOIN deals AS deal ON matched.account_id = deal.account_id AND matched.deal_id = deal.deal_id
)
ARRAY JOIN
    parts.1 AS ad_account_id, parts.2 AS campaign_id, parts.3 AS adset_id, parts.4 AS ad_id, parts.5 AS share,
    parts.6 AS micros
GROUP BY
    account_id, model, ad_account_id, campaign_id, adset_id, ad_id, lead_day, pipeline_id, stage, outcome, currency;
