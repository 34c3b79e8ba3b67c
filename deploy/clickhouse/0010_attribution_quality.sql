-- One row for a conversion, a method and a model. Query it with FINAL.
CREATE TABLE IF NOT EXISTS evaluated_conversions (
    account_id LowCardinality(String),
    conversion_id String,
    event_time DateTime64(3, 'UTC'),
    ingest_time DateTime64(3, 'UTC') COMMENT 'Kafka''s record timestamp',
    method LowCardinality(String),
    known_by LowCardinality(String),
    layer LowCardinality(String),
    confidence_person Float64,
    confidence_ad Float64,
    is_person_right Bool,
    is_ad_right Nullable(Bool),
    is_reachable Bool,
    model_version LowCardinality(String),
    kafka_partition Int32,
    kafka_offset Int64
)
ENGINE = ReplacingMergeTree(ingest_time)
PARTITION BY toYYYYMM(event_time)
ORDER BY (account_id, conversion_id, method, model_version)
-- As for clicks.
SETTINGS
    non_replicated_deduplication_window = 1000000,
    replicated_deduplication_window = 100000,
    replicated_deduplication_window_seconds = 604800;

-- How good matches by evidence are, as far as conversions with an identifier tell: biased, docs/attribution-quality.md.
-- Of the conversions of a day, per method and of the layer that was found: `claimed` with a confidence of .5 or more in
-- the ad; of these `precision`, of person and ad, and how far confidence and frequency are apart; of all the share that
-- was claimed and right. Of a knock_out every claim is a wrong one: `claimed_share` is what is to be small.
CREATE VIEW IF NOT EXISTS attribution_quality AS
SELECT
    account_id, day, method, layer,
    sum(bin_conversions) AS conversions,
    sum(bin_claimed) AS claimed,
    sum(bin_claimed) / any(of_day) AS claimed_share,
    if(claimed = 0, NULL, sum(bin_persons) / claimed) AS precision_person,
    if(sum(bin_judged) = 0, NULL, sum(bin_ads) / sum(bin_judged)) AS precision,
    sum(bin_ads) / any(judged_of_day) AS recall,
    if(sum(bin_judged) = 0, NULL, sum(abs(bin_gap)) / sum(bin_judged)) AS calibration_error
FROM (
    SELECT
        account_id, toDate(event_time) AS day, method, layer, least(toUInt8(confidence_ad * 10), 9) AS bin,
        confidence_ad >= 0.5 AS is_claimed,
        is_claimed AND is_ad_right IS NOT NULL AS is_judged,
        count() AS bin_conversions,
        countIf(is_claimed) AS bin_claimed,
        countIf(is_claimed AND is_person_right) AS bin_persons,
        countIf(is_judged) AS bin_judged,
        countIf(is_judged AND is_ad_right) AS bin_ads,
        sumIf(confidence_ad - toFloat64(ifNull(is_ad_right, false)), is_judged) AS bin_gap,
        sum(count()) OVER (PARTITION BY account_id, day, method) AS of_day,
        sum(countIf(is_ad_right IS NOT NULL)) OVER (PARTITION BY account_id, day, method) AS judged_of_day
    FROM evaluated_conversions FINAL
    GROUP BY account_id, day, method, layer, bin, is_claimed, is_judged
)
GROUP BY account_id, day, method, layer;
