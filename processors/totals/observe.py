"""Conversions as every system sees them on its own, from what matching has looked up to learn from."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.matching.candidates import Ints, Pairs
from processors.matching.evidence import MISSING, Evidence, Hashes, combine, hash_text
from processors.matching.lesson import Lesson
from processors.matching.model import DELAYS_H, Floats, MatchModel, bin_of
from processors.matching.posterior import posterior
from processors.totals.observations import OBSERVATIONS

__all__ = ["ClickNames", "observe"]

Mask = npt.NDArray[np.bool_]

DAY_MS = 86_400_000
#: Systems by what Evidence hashes, to positions in CLICK_SYSTEMS; whatever else there is, is the last.
_SYSTEMS = {hash_text("iPhone"): 0, hash_text("iPad"): 0, hash_text("Android"): 1}
_OTHER = 2


class ClickNames(NamedTuple):
    """The ads of clicks: `ad_ids` by number, and the number of each click's."""

    ad_ids: pa.Array
    ads: Ints


def observe(
    taught: Lesson, conversions: Evidence, names: ClickNames, homes: Hashes, rows: pa.Table, model: MatchModel
) -> pa.Table:
    """Observations of one account's conversions. `rows` has their account_id, conversion_id and value_micros.

    `homes` are addresses of few clicks, ascending. All conversions are asked for their evidence; those that an
    identifier matches, also without their household's clicks.
    """
    count = len(taught.is_open)
    after = posterior(taught.before, count, model)
    known = np.flatnonzero(taught.known >= 0)
    anchors = Pairs(*(np.concatenate(two) for two in zip(taught.identified, (known, taught.known[known]), strict=True)))
    at_home = _of_household(taught.before.pairs, anchors, conversions, taught.clicks, homes)
    mass = np.bincount(taught.before.pairs.conversion, np.where(at_home, 0, after.share), count)
    # Without the household's clicks the others share what was theirs.
    left = mass / (mass + after.organic + after.unreached)
    later = posterior(taught.after, count, model)
    return pa.table(
        [
            rows["account_id"],
            rows["conversion_id"],
            rows["value_micros"].cast(pa.int64()),
            _click(taught, names),
            _person(taught, conversions, names, model),
            _list(taught.before.pairs, after.share, conversions, taught.clicks, names, count),
            pa.array(after.unreached),
            pa.array(left, mask=taught.is_open),
            pa.array(1 - later.organic - later.unreached),
        ],
        schema=OBSERVATIONS,
    )


def _click(taught: Lesson, names: ClickNames) -> pa.Array:
    is_absent = taught.known < 0
    # The last is no click's, which -1 says.
    ads = pa.array(np.append(names.ads, 0)[taught.known], mask=is_absent)
    days = np.append(taught.clicks.event_ms // DAY_MS, 0)[taught.known].astype(np.int32)
    columns = [names.ad_ids.take(ads).fill_null(""), pa.array(days)]
    return pa.StructArray.from_arrays(columns, fields=list(OBSERVATIONS.field("click").type), mask=pa.array(is_absent))


def _person(taught: Lesson, conversions: Evidence, names: ClickNames, model: MatchModel) -> pa.Array:
    """Of the clicks of a person each is as likely as its delay is usual."""
    pairs = Pairs(*(np.concatenate(two) for two in zip(taught.identified, taught.blind, strict=True)))
    weight = model.delay[bin_of(np.concatenate([taught.identified_gap_h, taught.blind_gap_h]), DELAYS_H)]
    count = len(taught.is_open)
    share = weight / np.bincount(pairs.conversion, weight, count)[pairs.conversion]
    width = max(1, len(taught.clicks.event_ms))
    before = taught.before.pairs
    reached = np.isin(pairs.conversion * width + pairs.click, before.conversion * width + before.click)
    return _list(pairs, share, conversions, taught.clicks, names, count, reached)


def _list(
    pairs: Pairs,
    share: Floats,
    conversions: Evidence,
    clicks: Evidence,
    names: ClickNames,
    count: int,
    reached: Mask | None = None,
) -> pa.Array:
    order = np.argsort(pairs.conversion, kind="stable")
    conversion, click = pairs.conversion[order], pairs.click[order]
    system = clicks.system[click]
    number = np.full(len(system), _OTHER)
    for hashed, position in _SYSTEMS.items():
        number[system == np.uint64(hashed)] = position
    columns = [
        names.ad_ids.take(pa.array(names.ads[click])).fill_null(""),
        pa.array(_days(clicks, click)),
        pa.array(share[order]),
        pa.array((2 * number + (system != conversions.system[conversion])).astype(np.int8)),
    ]
    field = OBSERVATIONS.field("evidence" if reached is None else "person")
    if reached is not None:
        columns.append(pa.array(reached[order]))
    offsets = np.searchsorted(conversion, np.arange(count + 1)).astype(np.int32)
    members = pa.StructArray.from_arrays(columns, fields=list(field.type.value_type))
    return pa.ListArray.from_arrays(pa.array(offsets), members, type=field.type)


def _days(clicks: Evidence, of: Ints) -> npt.NDArray[np.int32]:
    return (clicks.event_ms[of] // DAY_MS).astype(np.int32)


def _of_household(pairs: Pairs, anchors: Pairs, conversions: Evidence, clicks: Evidence, homes: Hashes) -> Mask:
    """Pairs whose click is of the household of those whose clicks the anchors are, as far as clicks show it.

    It is theirs by the same browser, home's address, or fingerprint in the same neighbourhood, as an anchor or
    the conversion itself.
    """
    address = np.where(np.isin(clicks.ip, homes), clicks.ip, MISSING)
    nearby = combine(clicks.block, clicks.fingerprint)
    found = np.zeros(len(pairs.click), np.bool_)
    for values in (clicks.visitor, clicks.email, address, nearby):
        one = combine(anchors.conversion.astype(np.uint64), values[anchors.click])[values[anchors.click] != MISSING]
        other = combine(pairs.conversion.astype(np.uint64), values[pairs.click])
        found |= (values[pairs.click] != MISSING) & np.isin(other, one)
    own = address[pairs.click]
    found |= (own != MISSING) & (own == conversions.ip[pairs.conversion])
    return found
