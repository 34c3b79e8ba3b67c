"""What is known of each conversion, by every system on its own: each is asked as if the stronger ones had been silent.

A click id names the click. The identifiers of a person (e-mail, phone, external id) are asked with the click id hidden,
the evidence (network, device, time) with all identifiers hidden. How much a system misses is seen where another
knows the answer; so totals can be had of what none of them has found.
"""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["CLASSES", "CLICK_SYSTEMS", "OBSERVATIONS", "by_account", "device_class"]

#: Operating systems that a click may be of.
CLICK_SYSTEMS = ("ios", "android", "other")
#: Device classes of a pair: the click's system, and whether the conversion's is the same.
CLASSES = tuple(f"{system}, {other}" for system in CLICK_SYSTEMS for other in ("same system", "another system"))

_CLICK = [pa.field("ad_id", pa.string(), nullable=False), pa.field("day", pa.int32(), nullable=False)]
_SHARE = [*_CLICK, pa.field("share", pa.float64(), nullable=False), pa.field("device", pa.int8(), nullable=False)]

#: One row a conversion. Days are since 1970, UTC, and the click's; an ad without id is the empty string.
#:
#: value_micros: in the account's currency, null without one.
#: click: the click of its click id, null where there is none.
#: person: clicks of the person its identifiers name, the click id hidden, with shares that sum to one; empty where they
#:     name nobody. reached: the click was also among the candidates of `evidence`.
#: evidence: the posterior over candidates, all identifiers hidden; null where it was not asked, which it has to be of
#:     all conversions that no identifier matches. With `unreached`, that a click which was not found is the cause, and
#:     the organic rest, the shares sum to one.
#: knock_out: what `evidence` would sum to without the clicks of the buyer's household; null where it was not asked.
#: placebo: what it would sum to with the clicks of 30 days after the conversion in the place of those before, none of
#:     which can have caused it; null where it was not asked, or these days are not over.
#: device: position in CLASSES.
OBSERVATIONS = pa.schema(
    [
        pa.field("account_id", pa.string(), nullable=False),
        pa.field("conversion_id", pa.string(), nullable=False),
        pa.field("value_micros", pa.int64()),
        pa.field("click", pa.struct(_CLICK)),
        pa.field("person", pa.list_(pa.struct([*_SHARE, pa.field("reached", pa.bool_(), nullable=False)]))),
        pa.field("evidence", pa.list_(pa.struct(_SHARE))),
        pa.field("unreached", pa.float64()),
        pa.field("knock_out", pa.float64()),
        pa.field("placebo", pa.float64()),
    ]
)


def by_account(observations: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    """Each account with its rows, by name."""
    for account_id in sorted(pc.unique(observations["account_id"]).to_pylist()):
        yield account_id, observations.filter(pc.equal(observations["account_id"], account_id))


def device_class(click_system: str, same_system: bool) -> int:
    """The position in CLASSES of a pair.

    >>> CLASSES[device_class("android", same_system=False)]
    'android, another system'
    """
    return 2 * CLICK_SYSTEMS.index(click_system) + (not same_system)
