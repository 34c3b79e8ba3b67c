-- Of totals_by_ad each account's newest period as a whole: a row an ad, and one for the organic conversions. Together
-- they are the conversions counted.
CREATE VIEW IF NOT EXISTS latest_totals_by_ad AS
SELECT *
FROM totals_by_ad
WHERE (account_id, day, days) IN (
    SELECT account_id, argMax(day, as_of), argMax(days, as_of)
    FROM attribution_totals
    WHERE is_organic
    GROUP BY account_id
);
