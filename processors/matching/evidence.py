"""What clicks and conversions say of who was there, as columns of 64-bit hashes that are equal where the values are.

Zero stands for a value that is not given, and never agrees with anything. The hashes are the same in every process,
so that what is looked up in memory today can be looked up in a store by the same keys.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Sequence
from functools import cache, lru_cache
from socket import AF_INET6, inet_pton
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import pyarrow as pa

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
VERSIONS = re.compile(
    r"(Chrome|Chromium|CriOS|Version|Firefox|FxiOS|Edg|EdgA|EdgiOS|OPR|SamsungBrowser|Safari|FBAV|FBBV|rv:)/?[\d.]+",
    re.ASCII,
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
    agents, stems, system, browser = text.read("user_agent", _agent, 4)
    ip, block = text.read("ip", _networks, 2)
    (site,) = text.read(page, _site, 1)
    language, time_zone = text.of("language"), text.of("time_zone")
    screen = text.screen()
    rest = combine(language, time_zone, screen)
    return Evidence(
        event_ms=events.column("event_time").cast(pa.timestamp("ms", "UTC")).cast(pa.int64()).to_numpy(),
        site=site,
        ip=ip,
        block=block,
        system=system,
        family=combine(system, browser),
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
    addresses: Hashes = _Texts(events, ()).read("ip", _networks, 2)[0]
    return addresses


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

    def of(self, name: str) -> Hashes:
        """Hashes of a column; MISSING where null, empty or no column. Shape (rows,)."""
        encoded = self._column(name)
        if encoded is None:
            return np.zeros(self._events.num_rows, np.uint64)
        return _placed(encoded, _hashes(encoded.dictionary.to_pylist()))

    def read(self, name: str, reading: Callable[[str], tuple[int, ...]], width: int) -> Hashes:
        """So many hashes that are read from each value; MISSING where null or no column. Shape (width, rows)."""
        encoded = self._column(name)
        if encoded is None:
            return np.zeros((width, self._events.num_rows), np.uint64)
        read = np.array([*map(reading, encoded.dictionary.to_pylist()), (0,) * width], np.uint64)
        return _placed(encoded, read[:-1].T)

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


def _placed(encoded: pa.DictionaryArray, hashes: Hashes) -> Hashes:
    """What each distinct value gives, in the last axis, where it stands; MISSING where there is none."""
    nothing = np.zeros((*hashes.shape[:-1], 1), np.uint64)
    found: Hashes = np.concatenate([hashes, nothing], axis=-1)[
        ..., encoded.indices.fill_null(hashes.shape[-1]).to_numpy()
    ]
    return found


def _hashes(texts: Sequence[str]) -> Hashes:
    """`hash_text` of each, MISSING where empty; shape (len(texts),)."""
    digests = b"".join([hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts])
    hashes = np.frombuffer(digests, "<u8").astype(np.uint64)
    hashes[hashes == MISSING] = 1
    if "" in texts:
        hashes[[not text for text in texts]] = MISSING
    return hashes


def _hash_or_missing(text: str) -> int:
    return hash_text(text) if text else 0


@lru_cache(maxsize=50_000)
def _agent(agent: str) -> tuple[int, int, int, int]:
    """A user agent, what stays of it when the browser renews itself, its operating system, and the browser."""
    stem = VERSIONS.sub(r"\1", agent)
    system, browser = _first_of(SYSTEMS, agent), _first_of(BROWSERS, agent)
    return _hash_or_missing(agent), _hash_or_missing(stem), _hash_of_name(system), _hash_of_name(browser)


#: There are few of them.
_hash_of_name = cache(hash_text)


def _first_of(names: tuple[str, ...], text: str) -> str:
    """The first of the names that the text contains, else `other`."""
    return next((name for name in names if name in text), "other")


@lru_cache(maxsize=400_000)
def _networks(address: str) -> tuple[int, int]:
    """What counts as one address, and its neighbourhood; zeros where it is none."""
    network = _network(address)
    return (0, 0) if network is None else (hash_text(network[0]), hash_text(network[1]))


def _network(address: str) -> tuple[str, str] | None:
    """The same as text. A home has one IPv6 /64, in which devices change places.

    >>> _network("192.0.2.77"), _network("2001:db8:1:2:3::4"), _network("not one")
    (('192.0.2.77', '192.0.2'), ('20010db800010002', '20010db80001'), None)
    """
    if ":" not in address:
        block, _, last = address.rpartition(".")
        return (address, block) if last.isdigit() else None
    try:
        packed = inet_pton(AF_INET6, address)
    except (OSError, ValueError):  # ValueError: a character that no address has
        return None
    return packed[:8].hex(), packed[:6].hex()


def _site(page: str) -> tuple[int]:
    # What comes after belongs to one visit: without it a site has few addresses.
    return (_hash_of_host(page.partition("?")[0].partition("#")[0]),)


@lru_cache(maxsize=50_000)
def _hash_of_host(page: str) -> int:
    return _hash_or_missing(_host(page))


def _host(page: str) -> str:
    """
    >>> _host("https://www.Shop.example:8080/thanks?x=1")
    'shop.example'
    """
    try:
        return (urlsplit(page).hostname or "").removeprefix("www.")
    except ValueError:
        return ""
