"""What analysts see of addresses, devices and pages: enough to group by, too little to single out."""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pyarrow as pa
from ua_parser import parse

from schemas.redaction import redact_url

__all__ = ["browser", "device", "network", "of_distinct", "os", "page"]


def of_distinct(column: pa.Array, coarsen: Callable[[str], str]) -> pa.Array:
    """`coarsen` of each value, worked out once a distinct one; null becomes the empty string.

    >>> of_distinct(pa.array(["10.1.2.3", None, "10.1.2.3"]), network).to_pylist()
    ['10.1.2.0/24', '', '10.1.2.0/24']
    """
    encoded = column.dictionary_encode()
    coarse = pa.array([coarsen(value) for value in encoded.dictionary.to_pylist()], pa.string())
    return coarse.take(encoded.indices).fill_null("")


def network(ip: str) -> str:
    """The network an address is in.

    >>> network("2001:db8:1:2:3::4"), network("192.0.2.77"), network("::ffff:192.0.2.77"), network("not one")
    ('2001:db8:1::/48', '192.0.2.0/24', '192.0.2.0/24', '')
    """
    try:
        address = ipaddress.ip_address(ip.strip())
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return str(ipaddress.ip_network((address.packed, 24 if address.version == 4 else 48), strict=False))


def page(url: str) -> str:
    """An address without query, fragment, user and what identifies a person in its path.

    >>> page("https://u:p@shop.example/thanks/jo@shop.example?mail=x#y")
    'https://shop.example/thanks/redacted'
    """
    return redact_url(url).partition("?")[0]


def browser(user_agent: str) -> str:
    """Family and major version, such as `Mobile Safari 17`."""
    found = _parsed(user_agent).user_agent
    return f"{found.family} {found.major or ''}".strip() if found else ""


def os(user_agent: str) -> str:
    """Family of the operating system."""
    found = _parsed(user_agent).os
    return str(found.family) if found else ""


def device(user_agent: str) -> str:
    """Brand of the device; models are too many and too few people each."""
    found = _parsed(user_agent).device
    return str(found.brand or found.family) if found else ""


#: What tells devices apart stands at the front; the patterns take long over long nonsense.
MAX_USER_AGENT = 512


@lru_cache(maxsize=10_000)
def _parsed(user_agent: str) -> Any:
    return parse(user_agent[:MAX_USER_AGENT])
