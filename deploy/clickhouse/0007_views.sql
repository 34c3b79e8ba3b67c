-- Credit of every conversion by touchpoint and model: what the views below add up.
CREATE VIEW IF NOT EXISTS credit AS
SELECT
    account_id, conversion_id, event_name, event_time, currency, layer, model,
    touchpoint.1 AS click_id, touchpoint.2 AS channel, touchpoint.3 AS ad_account_id, touchpoint.4 AS campaign_id,
    touchpoint.5 AS adset_id, touchpoint.6 AS ad_id,
    share AS conversions, credit_micros AS value_micros
FROM (
    SELECT
        account_id, conversion_id, event_name, event_time, currency, layer, model, shares,
        -- A conversion without a value has no parts of it.
        if(empty(parts), arrayMap(s -> toInt64(0), shares), parts) AS micros,
        arrayZip(
            touchpoints.click_id, touchpoints.channel, touchpoints.ad_account_id,
            touchpoints.campaign_id, touchpoints.adset_id, touchpoints.ad_id
        ) AS path
    FROM attributed_conversions FINAL
    ARRAY JOIN credits.model AS model, credits.shares AS shares, credits.value_micros AS parts
)
ARRAY JOIN path AS touchpoint, shares AS share, micros AS credit_micros;

CREATE VIEW IF NOT EXISTS credit_by_channel AS
SELECT
    account_id, event_name, model, channel, currency,
    sum(conversions) AS conversions,
    toDecimal128(sum(toInt128(value_micros)), 6) / 1000000 AS value
FROM credit
GROUP BY account_id, event_name, model, channel, currency;

CREATE VIEW IF NOT EXISTS credit_by_ad AS
SELECT
    account_id, event_name, model, ad_account_id, campaign_id, adset_id, ad_id, toDate(event_time) AS day, currency,
    sum(conversions) AS conversions,
    toDecimal128(sum(toInt128(value_micros)), 6) / 1000000 AS value
FROM credit
GROUP BY account_id, event_name, model, ad_account_id, campaign_id, adset_id, ad_id, day, currency;

-- A visitor's clicks in order, with what came of them. Values of several currencies stay apart: `value` maps each
-- currency to its sum.
CREATE VIEW IF NOT EXISTS journeys AS
SELECT
    path.account_id AS account_id, path.visitor_id AS visitor_id,
    path.started AS started, path.ended AS ended, path.clicks AS clicks, path.channels AS channels,
    outcome.conversions AS conversions, outcome.value AS value
FROM (
    SELECT
        account_id, visitor_id, min(event_time) AS started, max(event_time) AS ended, count() AS clicks,
        arrayMap(t -> t.3, arraySort(groupArray((event_time, click_id, toString(channel))))) AS channels
    FROM clicks FINAL
    WHERE visitor_id != ''
    GROUP BY account_id, visitor_id
) AS path
LEFT JOIN (
    SELECT
        account_id, visitor_id, sum(count) AS conversions,
        mapFromArrays(
            groupArrayIf(toString(currency), valued > 0),
            groupArrayIf(toDecimal128(micros, 6) / 1000000, valued > 0)
        ) AS value
    FROM (
        SELECT
            account_id, visitor_id, currency,
            count() AS count, count(value_micros) AS valued, sum(toInt128(ifNull(value_micros, 0))) AS micros
        FROM conversions FINAL
        WHERE visitor_id != ''
        GROUP BY account_id, visitor_id, currency
    )
    GROUP BY account_id, visitor_id
) AS outcome ON path.account_id = outcome.account_id AND path.visitor_id = outcome.visitor_id;

CREATE VIEW IF NOT EXISTS conversions_unattributed AS
SELECT
    account_id, conversion_id, event_name, event_time, value_micros, currency,
    click_id, visitor_id, action_source, ingest_time
FROM attributed_conversions FINAL
WHERE layer = 'none';

-- How old the newest thing in each table is, for the topic as it is now. `end_offset` is comparable with Kafka's own.
CREATE VIEW IF NOT EXISTS freshness AS
SELECT
    topic, partition, end_offset, newest_ingest_time, loaded_at,
    dateDiff('millisecond', newest_ingest_time, loaded_at) / 1000 AS load_delay_s
FROM load_progress FINAL
-- A topic that was created anew has a row for each of its generations.
ORDER BY topic, partition, loaded_at DESC
LIMIT 1 BY topic, partition;
