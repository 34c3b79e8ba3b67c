-- How much the ranking of an account's campaigns depends on the lookback window: Spearman's rank correlation of their
-- credit with windows of 1, 7, 14 and 30 days, by twos, ties sharing their mean rank. 1 is the same order, 0 none in
-- common, null where there are no two campaigns or all of them are equal. A conversion counts where its own window was
-- no shorter than the longer of the two; of a shorter window it has the touchpoints that are no older, and none of the
-- credit where there are none. What has no campaign is left out.
CREATE VIEW IF NOT EXISTS window_sensitivity AS
SELECT
    account_id, event_name, model, window_d, longer_window_d, count() AS campaigns,
    if(isFinite(corr(place, longer_place) AS found), found, NULL) AS rank_correlation
FROM (
    SELECT
        *,
        rank() OVER by_credit + (count() OVER same_credit - 1) / 2 AS place,
        rank() OVER by_longer_credit + (count() OVER same_longer_credit - 1) / 2 AS longer_place
    FROM (
        SELECT
            account_id, event_name, pair.1 AS window_d, pair.2 AS longer_window_d, model, campaign,
            -- Thirds do not add up to the same in another order: what differs in the ninth digit is equal.
            round(sumIf(part, NOT is_longer), 9) AS credit, round(sumIf(part, is_longer), 9) AS longer_credit
        FROM (
            SELECT
                account_id, event_name, pair, is_longer, campaigns,
                arrayMap(place -> 1. / length(campaigns), campaigns) AS evenly,
                arrayMap((name, place) -> toFloat64(place = 1), campaigns, arrayEnumerate(campaigns)) AS to_first,
                arrayMap(
                    (name, place) -> toFloat64(place = length(campaigns)), campaigns, arrayEnumerate(campaigns)
                ) AS to_last
            FROM (
                SELECT
                    account_id, event_name, pair, is_longer,
                    arrayFilter(
                        (name, clicked) -> clicked >= event_time - toIntervalDay(if(is_longer, pair.2, pair.1)),
                        arrayZip(touchpoints.ad_account_id, touchpoints.campaign_id), touchpoints.event_time
                    ) AS campaigns
                FROM attributed_conversions FINAL
                ARRAY JOIN [(1, 7), (1, 14), (1, 30), (7, 14), (7, 30), (14, 30)] AS pair
                ARRAY JOIN [false, true] AS is_longer
                WHERE lookback_window_s >= pair.2 * 86400
            )
        )
        ARRAY JOIN ['first', 'last', 'linear'] AS model, [to_first, to_last, evenly] AS parts
        ARRAY JOIN campaigns AS campaign, parts AS part
        WHERE campaign.2 != ''
        GROUP BY account_id, event_name, pair, model, campaign
    )
    WINDOW
        by_credit AS (PARTITION BY account_id, event_name, model, window_d, longer_window_d ORDER BY credit),
        same_credit AS (PARTITION BY account_id, event_name, model, window_d, longer_window_d, credit),
        by_longer_credit AS (PARTITION BY account_id, event_name, model, window_d, longer_window_d ORDER BY longer_credit),
        same_longer_credit AS (PARTITION BY account_id, event_name, model, window_d, longer_window_d, longer_credit)
)
GROUP BY account_id, event_name, model, window_d, longer_window_d;
