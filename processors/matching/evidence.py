"""What clicks and conversions say of who was there, as columns of 64-bit hashes that are equal where the values are.

Zero stands for a value that is not given, and never agrees with anything. The hashes are the same in every process,
so that what is looked up in memory today can be looked up in a store by the same keys.
"""

import hashlib
import ipaddress
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = [
    "MISSING",
    "Evidence",
    "Hashes",
    "addresses_of",
    "combine",
    "evidence_of",
    "hash_text",
    "hashes_of",
    "together",
]

Hashes = npt.NDArray[np.uint64]
Times = npt.NDArray[np.int64]

MISSING = np.uint64(0)
IDENTIFIERS = frozenset(
    ("visitor_id", "click_id", "fbclid", "email_sha256", "phone_sha256", "external_id_sha256"),
)
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)
#: What tells one operating system, and one browser, from another; the first that is found counts.
SYSTEMS = ("iPhone", "iPad", "Android", "Windows", "CrOS", "Macintosh", "Linux")
BROWSERS = ("FBAN", "FBAV", "Instagram", "Edg", "OPR", "SamsungBrowser", "Firefox", "CriOS", "Chrome", "Safari")
#: Numbers that change when a browser renews itself; what stands before them stays.
VERSIONS = (
    r"(Chrome|Chromium|CriOS|Version|Firefox|FxiOS|Edg|EdgA|EdgiOS|OPR|SamsungBrowser|Safari|FBAV|FBBV|rv:)/?[\d.]+"
)


class Evidence(NamedTuple):
    """Columns with a row a click or conversion of one tenant, all of shape (rows,).

    event_ms: event time, milliseconds since 1970.
    ip: the address, of IPv6 its /64; block: its /24, of IPv6 its /48.
    system: operating system; family: that with the browser's name.
    fingerprint: user agent, language, time zone and screen together; device: the same but for the browser's versions.
    person: hashed e-mail address, else phone, else external id. visitor: first-party id of the browser.
    """

    event_ms: Times
    site: Hashes
    ip: Hashes
    block: Hashes
    system: Hashes
    family: Hashes
    fingerprint: Hashes
    device: Hashes
    screen: Hashes
    language: Hashes
    time_zone: Hashes
    visitor: Hashes
    click_id: Hashes
    fbclid: Hashes
    email: Hashes
    phone: Hashes
    external_id: Hashes

    def rows(self, chosen: npt.NDArray[np.int64] | npt.NDArray[np.bool_] | slice) -> "Evidence":
        """Some of the rows."""
        return Evidence(**{name: column[chosen] for name, column in self._asdict().items()})

    def without(self, names: Collection[str]) -> "Evidence":
        """As if nothing were known in some columns of hashes."""
        columns = self._asdict()
        return Evidence(**columns | {name: np.zeros_like(columns[name]) for name in names})


def evidence_of(events: pa.Table | pa.RecordBatch, page: str, identifiers: Collection[str] = IDENTIFIERS) -> Evidence:
    """The evidence in clicks or conversions, which have the contract's columns or some of them.

    `page` is the column with the address of the page it happened on: `landing_url`, `event_source_url`. Columns of
    IDENTIFIERS that are not among `identifiers` are taken for empty.
    """
    text = _Texts(events, IDENTIFIERS - set(identifiers))
    agents, stems = text.of("user_agent"), text.of("user_agent", _stem)
    language, time_zone = text.of("language"), text.of("time_zone")
    screen = text.screen()
    system = text.of("user_agent", _system)
    rest = combine(language, time_zone, screen)
    return Evidence(
        event_ms=events.column("event_time").cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy(),
        site=text.of(page, _site),
        ip=text.of("ip", _address),
        block=text.of("ip", _block),
        system=system,
        family=combine(system, text.of("user_agent", _browser)),
        fingerprint=_known(agents, combine(agents, rest)),
        device=_known(agents, combine(stems, rest)),
        screen=screen,
        language=language,
        time_zone=time_zone,
        visitor=text.of("visitor_id"),
        click_id=text.of("click_id"),
        fbclid=text.of("fbclid"),
        email=text.of("email_sha256"),
        phone=text.of("phone_sha256"),
        external_id=text.of("external_id_sha256"),
    )


def hashes_of(events: pa.Table | pa.RecordBatch, name: str) -> Hashes:
    """Hashes of one column; MISSING where null, empty or no column. Shape (rows,)."""
    return _Texts(events, ()).of(name)


def addresses_of(events: pa.Table | pa.RecordBatch) -> Hashes:
    """Column `ip` of their evidence by itself; shape (rows,)."""
    return _Texts(events, ()).of("ip", _address)


def together(parts: Sequence[Evidence]) -> Evidence:
    """The rows of all parts, of which there is one at least."""
    return Evidence(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def hash_text(text: str) -> int:
    """64 bits of a text, never zero.

    >>> hash_text("en-US") == hash_text("en-US") != hash_text("de-DE")
    True
    """
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") or 1


def combine(*columns: Hashes | int) -> Hashes:
    """One hash a row for the values of several columns together, never zero.

    >>> one, two = combine(np.array([1, 1], np.uint64), np.array([2, 3], np.uint64)).tolist()
    >>> one != two, combine(np.array([1], np.uint64), np.array([2], np.uint64)).tolist() == [one]
    (True, True)
    """
    mixed = np.zeros(1, np.uint64)
    for column in columns:
        mixed = (mixed ^ np.asarray(column, np.uint64)) * _GOLDEN + _MIX
        mixed ^= mixed >> np.uint64(29)
        mixed *= _MIX
        mixed ^= mixed >> np.uint64(32)
    return np.where(mixed == MISSING, np.uint64(1), mixed)


def _known(given: Hashes, hashes: Hashes) -> Hashes:
    return np.where(given == MISSING, MISSING, hashes)


class _Texts:
    """The text columns of some events, each distinct value looked at once."""

    def __init__(self, events: pa.Table | pa.RecordBatch, unread: Collection[str]) -> None:
        self._events = events
        self._unread = unread
        self._encoded: dict[str, pa.DictionaryArray] = {}

    def of(self, name: str, reading: "Callable[[pa.Array], pa.Array] | None" = None) -> Hashes:
        """Hashes of a column, or of what is read from its distinct values; MISSING where null, empty or no column."""
        encoded = self._column(name)
        if encoded is None:
            return np.zeros(self._events.num_rows, np.uint64)
        values = encoded.dictionary if reading is None else reading(encoded.dictionary)
        hashes = np.array([hash_text(value) if value else 0 for value in values.to_pylist()] + [0], np.uint64)
        found: Hashes = hashes[encoded.indices.fill_null(len(hashes) - 1).to_numpy()]
        return found

    def screen(self) -> Hashes:
        """Width, height and pixel ratio together."""
        if "screen_width" not in self._events.schema.names:
            return np.zeros(self._events.num_rows, np.uint64)
        width, height = (self._number(name, pa.int64()) for name in ("screen_width", "screen_height"))
        ratio = self._number("pixel_ratio", pa.float64()).view(np.uint64)
        return _known(width.astype(np.uint64), combine(width.astype(np.uint64), height.astype(np.uint64), ratio))

    def _number(self, name: str, to: pa.DataType) -> npt.NDArray[np.int64]:
        column = self._events.column(name).cast(to).fill_null(0)
        return np.ascontiguousarray(column.to_numpy())

    def _column(self, name: str) -> pa.DictionaryArray | None:
        if name not in self._events.schema.names or name in self._unread:
            return None
        if name not in self._encoded:
            column = self._events.column(name)
            column = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            self._encoded[name] = column.dictionary_encode()
        return self._encoded[name]


def _stem(agents: pa.Array) -> pa.Array:
    return pc.replace_substring_regex(agents, VERSIONS, r"\1")


def _system(agents: pa.Array) -> pa.Array:
    return _first_of(agents, SYSTEMS)


def _browser(agents: pa.Array) -> pa.Array:
    return _first_of(agents, BROWSERS)


def _first_of(texts: pa.Array, names: tuple[str, ...]) -> pa.Array:
    """Of each text the first of the names that it contains, else `other`."""
    found = pa.array(["other"] * len(texts), pa.string())
    for name in reversed(names):
        found = pc.if_else(pc.match_substring(texts, name), name, found)
    return found


def _address(addresses: pa.Array) -> pa.Array:
    return pa.array([_networks(address)[0] for address in addresses.to_pylist()], pa.string())


def _block(addresses: pa.Array) -> pa.Array:
    return pa.array([_networks(address)[1] for address in addresses.to_pylist()], pa.string())


@lru_cache(maxsize=400_000)
def _networks(address: str) -> tuple[str | None, str | None]:
    """What counts as one address, and its neighbourhood. A home has one IPv6 /64, in which devices change places.

    >>> _networks("192.0.2.77"), _networks("2001:db8:1:2:3::4"), _networks("not one")
    (('192.0.2.77', '192.0.2'), ('20010db800010002', '20010db80001'), (None, None))
    """
    if ":" not in address:
        block, _, last = address.rpartition(".")
        return (address, block) if last.isdigit() else (None, None)
    try:
        packed = ipaddress.IPv6Address(address).packed
    except ValueError:
        return None, None
    return packed[:8].hex(), packed[:6].hex()


def _site(pages: pa.Array) -> pa.Array:
    return pa.array([_host(page) for page in pages.to_pylist()], pa.string())


def _host(page: str) -> str:
    """
    >>> _host("https://www.Shop.example:8080/thanks?x=1")
    'shop.example'
    """
    try:
        return (urlsplit(page).hostname or "").removeprefix("www.")
    except ValueError:
        return ""
