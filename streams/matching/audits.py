"""Audits, and what was said of the conversions they are about."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from processors.matching.audits import Attributed, Audit
from schemas.client.registry import Registry
from streams.matching.columns import Columns
from streams.settings import Settings

__all__ = ["AUDITS", "attributed_conversions", "audits_of", "credited"]

AUDITS = "audits"
COLUMNS = (
    *("account_id", "conversion_id", "epoch", "facts_held", "click_id", "layer", "model_version"),
    *("confidence_person", "confidence_ad", "credited_click_id", "candidates", "touchpoints"),
)


def audits_of(settings: Settings, schemas: Registry, accounts: Collection[str]) -> dict[str, dict[str, Audit]]:
    """The audits of these tenants, by tenant and conversion. Raises Unavailable, RegistryUnavailable."""
    found: dict[str, dict[str, Audit]] = defaultdict(dict)
    for part in Columns(settings, schemas, AUDITS).everything():
        for row in part.batch.to_pylist():
            if row["account_id"] in accounts:
                found[row["account_id"]][row["conversion_id"]] = Audit(row["ad_id"] or None, row["person"] or None)
    return found


def attributed_conversions(
    settings: Settings, schemas: Registry, audits: Mapping[str, Mapping[str, Audit]]
) -> dict[str, dict[str, Attributed]]:
    """What was last said of the audited conversions, by tenant and conversion. Raises as `audits_of` does."""
    wanted = {conversion_id for of_account in audits.values() for conversion_id in of_account}
    newest: dict[tuple[str, str], tuple[int, int]] = {}
    found: dict[str, dict[str, Attributed]] = defaultdict(dict)
    if not wanted:
        return found
    keys = {conversion_id.encode() for conversion_id in wanted}
    for part in Columns(settings, schemas, "attributed-conversions").everything(keys):
        for row in part.batch.select(COLUMNS).to_pylist():
            account_id, conversion_id = row["account_id"], row["conversion_id"]
            version = (row["epoch"], row["facts_held"])
            if conversion_id in audits.get(account_id, ()) and version >= newest.get(
                (account_id, conversion_id), version
            ):
                newest[account_id, conversion_id] = version
                found[account_id][conversion_id] = credited(row)
    return found


def credited(row: Mapping[str, Any]) -> Attributed:
    """Who an attributed conversion was credited to, from its record; of records that do not name the click, what they
    leave to conclude.
    """
    touchpoints, candidates = row["touchpoints"], row["candidates"]
    clicks = {touchpoint["click_id"] for touchpoint in touchpoints}
    ads = {click["click_id"]: click["ad_id"] for click in (*candidates, *touchpoints)}
    click_id = row["credited_click_id"]
    ad_id = ads.get(click_id) if click_id else _concluded_ad(row, clicks)
    if not clicks and candidates:
        clicks = {click_id or max(candidates, key=lambda candidate: candidate["probability"])["click_id"]}
    visitors = {touchpoint["visitor_id"] for touchpoint in touchpoints} - {None}
    return Attributed(
        layer=row["layer"],
        model_version=row["model_version"],
        person=row["confidence_person"],
        ad=row["confidence_ad"],
        ad_id=ad_id,
        known_as=frozenset(clicks | visitors),
    )


def _concluded_ad(row: Mapping[str, Any], clicks: Collection[str]) -> str | None:
    """Among the candidates the likeliest ad of the credited person, whose clicks are the touchpoints; where there are
    no candidates, that of the touchpoint whose click id the conversion knew, else of the last.
    """
    touchpoints = row["touchpoints"]
    likely: dict[str | None, float] = defaultdict(float)
    for candidate in row["candidates"]:
        if candidate["click_id"] in clicks or not clicks:
            likely[candidate["ad_id"]] += candidate["probability"]
    if likely:
        return max(likely, key=lambda ad: likely[ad])
    known = [touchpoint for touchpoint in touchpoints if touchpoint["click_id"] == row["click_id"]]
    return (known or touchpoints)[-1]["ad_id"] if touchpoints else None
