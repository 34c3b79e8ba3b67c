-- Credit of every conversion by touchpoint and model, whichever models there are in the records, with how sure the match
-- is: what the views below add up. An identifier that both carry makes the person certain; where nothing more is known
-- of the ad, it is as sure as the person is.
CREATE OR REPLACE VIEW credit AS
SELECT
    account_id, conversion_id, event_name, event_time, currency, layer, model,
    touchpoint.1 AS click_id, touchpoint.2 AS channel, touchpoint.3 AS ad_account_id, touchpoint.4 AS campaign_id,
    touchpoint.5 AS adset_id, touchpoint.6 AS ad_id,
    share AS conversions, credit_micros AS value_micros,
    touchpoint.7 AS creative_id, confidence_person, confidence_ad
FROM (
    SELECT
        account_id, conversion_id, event_name, event_time, currency, layer, model, shares,
        ifNull(attributed.confidence_person, 0.) AS confidence_person,
        coalesce(attributed.confidence_ad, attributed.confidence_person, 0.) AS confidence_ad,
        -- A conversion without a value has no parts of it.
        if(empty(parts), arrayMap(s -> toInt64(0), shares), parts) AS micros,
        arrayZip(
            touchpoints.click_id, touchpoints.channel, touchpoints.ad_account_id,
            touchpoints.campaign_id, touchpoints.adset_id, touchpoints.ad_id, touchpoints.creative_id
        ) AS path
    FROM attributed_conversions AS attributed FINAL
    ARRAY JOIN credits.model AS model, credits.shares AS shares, credits.value_micros AS parts
)
ARRAY JOIN path AS touchpoint, shares AS share, micros AS credit_micros;

CREATE VIEW IF NOT EXISTS credit_by_campaign AS
SELECT
    account_id, event_name, model, ad_account_id, campaign_id, toDate(event_time) AS day, currency,
    sum(conversions) AS conversions,
    toDecimal128(sum(toInt128(value_micros)), 6) / 1000000 AS value
FROM credit
GROUP BY account_id, event_name, model, ad_account_id, campaign_id, day, currency;

CREATE VIEW IF NOT EXISTS credit_by_adset AS
SELECT
    account_id, event_name, model, ad_account_id, campaign_id, adset_id, toDate(event_time) AS day, currency,
    sum(conversions) AS conversions,
    toDecimal128(sum(toInt128(value_micros)), 6) / 1000000 AS value
FROM credit
GROUP BY account_id, event_name, model, ad_account_id, campaign_id, adset_id, day, currency;

CREATE VIEW IF NOT EXISTS credit_by_creative AS
SELECT
    account_id, event_name, model, creative_id, toDate(event_time) AS day, currency,
    sum(conversions) AS conversions,
    toDecimal128(sum(toInt128(value_micros)), 6) / 1000000 AS value
FROM credit
GROUP BY account_id, event_name, model, creative_id, day, currency;

-- The same of the matches that are sure enough: FROM credit_by_ad_above(person = 0.9, ad = 0.5). Both bounds are
-- inclusive and have to be given; 0 is no bound.
CREATE VIEW IF NOT EXISTS credit_by_channel_above AS
SELECT
    account_id, event_name, model, channel, currency,
    sum(conversions) AS conversions,
    toDecimal128(sum(toInt128(value_micros)), 6) / 1000000 AS value
FROM credit
WHERE confidence_person >= {person:Float64} AND confidence_ad >= {ad:Float64}
GROUP BY account_id, event_name, model, channel, currency;

CREATE VIEW IF NOT EXISTS credit_by_campaign_above AS
SELECT
    account_id, event_name, model, ad_account_id, campaign_id, toDate(event_time) AS day, currency,
    sum(conversions) AS conversions,
    toDecimal128(sum(toInt128(value_micros)), 6) / 1000000 AS value
FROM credit
WHERE confidence_person >= {person:Float64} AND confidence_ad >= {ad:Float64}
GROUP BY account_id, event_name, model, ad_account_id, campaign_id, day, currency;

CREATE VIEW IF NOT EXISTS credit_by_ad_above AS
SELECT
    account_id, event_name, model, ad_account_id, campaign_id, adset_id, ad_id, toDate(event_time) AS day, currency,
    sum(conversions) AS conversions,
    toDecimal128(sum(toInt128(value_micros)), 6) / 1000000 AS value
FROM credit
WHERE confidence_person >= {person:Float64} AND confidence_ad >= {ad:Float64}
GROUP BY account_id, event_name, model, ad_account_id, campaign_id, adset_id, ad_id, day, currency;
