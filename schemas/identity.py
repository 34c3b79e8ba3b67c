"""Direct identifiers are normalised and hashed here, at the publishing edge, and never travel in the clear.

The rules are the ones Meta publishes for the Conversions API: a field is normalised, then hashed with
SHA-256. An identifier that cannot be normalised is dropped and can be counted; it never takes its event with
it, and nothing in this module raises on what a customer typed.

Some fields must not be hashed: the client's address, its user agent, `fbc`, `fbp` and `lead_id`. They have
validators instead, which give the value back or None.

Source: Meta, Customer Information Parameters,
https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters
"""

import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from typing import Final

import phonenumbers

from schemas.places import COUNTRIES, COUNTRY_CODES, US_STATE_CODES, US_STATES

__all__ = [
    "EMAIL",
    "EXTERNAL_ID",
    "IDENTIFIER_FIELDS",
    "PHONE",
    "hash_fields",
    "hash_identifier",
    "normalise",
    "valid_fbc",
    "valid_fbp",
    "valid_ip",
    "valid_lead_id",
]

EMAIL: Final = "em"
PHONE: Final = "ph"
EXTERNAL_ID: Final = "external_id"

# Longer than any identifier and any click id seen; bounds the work a hostile value can cause.
_LONGEST = 1024

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
# MD5, SHA-1, SHA-256 and SHA-512: hashing one of them again would match nobody.
_DIGEST = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}|[0-9a-f]{128}", re.IGNORECASE)
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
# What empty columns become on their way through other software. Hashed, they would join strangers.
_PLACEHOLDERS = frozenset({"0", "n/a", "nan", "none", "null", "undefined"})


# --- The public functions over the table of fields ---


def normalise(field: str, value: object, *, country: str | None = None) -> str | None:
    """Return `value` as Meta wants `field` before hashing, or None if it is not such an identifier.

    Strings, UTF-8 bytes and integers are read; anything else, and an unknown field, gives None. A SHA-256 in
    hex comes back in lower case, unless it is the hash of nothing. Digests of other functions give None, but
    in an external id, where 32 hex digits are as likely a UUID without dashes and are hashed as they are.
    `country` (alpha-2, alpha-3 or a common English name) is where the person lives: it decides the region of
    a phone number without country code, the order of day and month, and the rules for state and postcode.

    Normalising twice changes nothing, with one exception that follows from the form Meta wants: a phone
    number loses its `+`, so it can be read again only with the `country` it belongs to.

    >>> normalise("em", " John_Smith@gmail.com ")
    'john_smith@gmail.com'
    >>> normalise("ph", "(650)555-1212", country="US")
    '16505551212'
    >>> normalise("ph", "(650)555-1212") is None
    True
    >>> normalise("db", "2/16/1997")
    '19970216'
    """
    normaliser = _NORMALISERS.get(field)
    text = _text(value)
    if normaliser is None or text is None:
        return None
    if _SHA256.fullmatch(text):
        digest = text.lower()
        return None if digest == _EMPTY_SHA256 else digest
    normalised = normaliser(text, _home(country))
    if not normalised or normalised.lower() in _PLACEHOLDERS:
        return None
    if field != EXTERNAL_ID and _DIGEST.fullmatch(normalised):
        return None
    return normalised


def hash_identifier(field: str, value: object, *, country: str | None = None) -> str | None:
    """Return the SHA-256 of the normalised identifier as 64 hex digits, or None if it must be dropped.

    A value that is such a hash already is returned in lower case and never hashed again.

    >>> hash_identifier("fn", "Mary")
    '6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec'
    >>> hash_identifier("fn", "6915771BE1C5AA0C886870B6951B03D7EAFC121FEA0E80A5EA83BEB7C449F4EC")
    '6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec'
    >>> hash_identifier("fn", "  ") is None
    True
    """
    normalised = normalise(field, value, country=country)
    if normalised is None or _SHA256.fullmatch(normalised):
        return normalised
    return hashlib.sha256(normalised.encode()).hexdigest()


def hash_fields(raw: Mapping[str, object], *, country: str | None = None) -> tuple[dict[str, str], list[str]]:
    """Return the hashed fields of `raw`, and the names of the fields that had to be dropped.

    A field that is None or blank is absent, not dropped. The person's own `country` field, where it can be
    read, goes before `country`, which is then the default of the shop.

    >>> hashed, dropped = hash_fields({"em": "null", "ph": "020 7946 0958", "ln": "", "country": "UK"})
    >>> sorted(hashed), dropped
    (['country', 'ph'], ['em'])
    """
    home = _home(raw.get("country")) or country
    hashed: dict[str, str] = {}
    dropped: list[str] = []
    for field, value in raw.items():
        digest = hash_identifier(field, value, country=home)
        if digest is not None:
            hashed[field] = digest
        elif not _is_blank(value):
            dropped.append(field)
    return hashed, dropped


def _text(value: object) -> str | None:
    """Return the trimmed text of a value, or None where there is none that could be hashed."""
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            return None
    elif isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= _LONGEST:
        value = str(value)
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    text = value.strip()
    # A lone surrogate has no UTF-8 form and therefore no hash.
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        return None
    return text or None


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str | bytes) and not value.strip())


def _home(country: object) -> str | None:
    text = _text(country)
    return None if text is None else _country(text, None)


# --- One normaliser a field: (trimmed text, alpha-2 country or None) -> text or None ---

# Characters which only occur in an address that something else was pasted into, or that cannot be seen.
_NOT_IN_ADDRESS = r"""\s\x00-\x1f\x7f\u200b-\u200f\u2060\ufeff@,;:<>()\[\]\\\""""
_LABEL = rf"[^{_NOT_IN_ADDRESS}./?\#&%=_]"
_EMAIL = re.compile(rf"[^{_NOT_IN_ADDRESS}]{{1,64}}@(?:{_LABEL}{{1,63}}\.)+(?!\d+\Z){_LABEL}{{2,63}}")
_LONGEST_EMAIL = 254


def _email(text: str, _: str | None) -> str | None:
    """Lower case; dots and tags in the local part are part of the address and stay."""
    address = unicodedata.normalize("NFC", text.lower())
    return address if len(address) <= _LONGEST_EMAIL and _EMAIL.fullmatch(address) else None


def _phone(text: str, country: str | None) -> str | None:
    """Country code and national number, digits only, if the number is valid in its numbering plan.

    Valid, not merely possible: 0000000000 is possible, is what people type to get past a form, and its hash
    would join all of them.
    """
    for candidate, region in _phone_readings(text, country and country.upper()):
        try:
            number = phonenumbers.parse(candidate, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return None


def _phone_readings(text: str, region: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield the ways to read a number, the likelier first.

    Where both are valid, a number that starts with the country code of its own region has that code, rather
    than an area code which happens to be equal and lacks its trunk prefix.
    """
    if text.startswith("00"):
        yield "+" + text[2:], None
    elif region is not None:
        code = phonenumbers.country_code_for_region(region)
        if "".join(filter(str.isdigit, text)).startswith(str(code)):
            yield "+" + text, None
    yield text, region


def _letters(text: str, _: str | None = None) -> str:
    """Lower case, NFC, and only letters, their marks and digits: for names and cities.

    Spaces go as well, as Meta's own Parameter Builder does it, so that "Mary Ann" and "Mary-Ann" are one.
    """
    if not text.isalnum():
        text = "".join(filter(_is_letter_mark_or_digit, text))
    return unicodedata.normalize("NFC", text.lower())


def _is_letter_mark_or_digit(character: str) -> bool:
    return character.isalnum() or unicodedata.category(character)[0] == "M"


_COMPACT_DATE = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII)
_YEAR_FIRST_DATE = re.compile(r"(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})(?:[T ].*)?", re.ASCII)
_YEAR_LAST_DATE = re.compile(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})", re.ASCII)
# Where 2/3/1997 is the third of February: the United States and territories, and the Philippines (CLDR).
_MONTH_FIRST = frozenset({"as", "gu", "mh", "mp", "ph", "pr", "um", "us", "vi"})
# 1900-01-01 is the commonest stand-in for an unknown date.
_EARLIEST_BIRTH = date(1900, 1, 2)


def _date_of_birth(text: str, country: str | None) -> str | None:
    """YYYYMMDD from year-first dates (an ISO time may follow) or dates with a four-digit year at the end.

    Day or month first: whichever makes a date. If both do, month first in `_MONTH_FIRST`, day first in other
    countries, and dropped where the country is not known. So are dates in the future.
    """
    if year_first := _COMPACT_DATE.fullmatch(text) or _YEAR_FIRST_DATE.fullmatch(text):
        return _birth_date(*map(int, year_first.groups()))
    year_last = _YEAR_LAST_DATE.fullmatch(text)
    if year_last is None:
        return None
    first, second, year = map(int, year_last.groups())
    month_first, day_first = _birth_date(year, first, second), _birth_date(year, second, first)
    if month_first is None or day_first is None or month_first == day_first:
        return month_first or day_first
    if country is None:
        return None
    return month_first if country in _MONTH_FIRST else day_first


def _birth_date(year: int, month: int, day: int) -> str | None:
    try:
        born = date(year, month, day)
    except ValueError:
        return None
    return f"{born:%Y%m%d}" if _EARLIEST_BIRTH <= born <= datetime.now(UTC).date() else None


_GENDERS = {"f": "f", "female": "f", "woman": "f", "m": "m", "male": "m", "man": "m"}


def _gender(text: str, _: str | None) -> str | None:
    return _GENDERS.get(text.lower())


def _state(text: str, country: str | None) -> str | None:
    """The two-letter code in the United States, from code or name; elsewhere the letters of the name."""
    state = _letters(text)
    if country != "us":
        return state
    return state if state in US_STATE_CODES else US_STATES.get(state)


_ZIP_PLUS_4 = re.compile(r"(\d{5})-\d{4}", re.ASCII)
_US_ZIP = re.compile(r"(\d{5})(?:\d{4})?", re.ASCII)


def _postcode(text: str, country: str | None) -> str | None:
    """Lower case without spaces and dashes; five digits in the United States; a British one stays whole.

    No other country writes five digits, a dash and four, so those are a ZIP+4 even without a country.
    """
    text = unicodedata.normalize("NFKC", text)
    if country in (None, "us") and (plus_4 := _ZIP_PLUS_4.fullmatch(text)):
        return plus_4[1]
    code = _letters(text)
    if country != "us":
        return code
    us_zip = _US_ZIP.fullmatch(code)
    return us_zip[1] if us_zip else None


def _country(text: str, _: str | None) -> str | None:
    """ISO 3166-1 alpha-2, from alpha-2, alpha-3 or one of the names in `COUNTRIES`."""
    key = _letters(text)
    return key if key in COUNTRY_CODES else COUNTRIES.get(key)


def _external_id(text: str, _: str | None) -> str:
    """As it is, case included: whether two ids that differ in case are one is the issuer's to know."""
    return text


_NORMALISERS: Final[Mapping[str, Callable[[str, str | None], str | None]]] = {
    EMAIL: _email,
    PHONE: _phone,
    "fn": _letters,
    "ln": _letters,
    "db": _date_of_birth,
    "ge": _gender,
    "ct": _letters,
    "st": _state,
    "zp": _postcode,
    "country": _country,
    EXTERNAL_ID: _external_id,
}
IDENTIFIER_FIELDS: Final = frozenset(_NORMALISERS)


# --- What is never hashed ---

# A click id is base64url; Meta's Parameter Builder appends a fifth segment. One malformed `fbc` and Meta
# rejects the whole request (code 100, subcode 2804001).
_META_COOKIE = re.compile(r"fb\.[0-9]\.[0-9]{13}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?")
_LEAD_ID = re.compile(r"[1-9][0-9]{14,16}")


def valid_ip(text: object) -> str | None:
    """Return the canonical text of an IPv4 or IPv6 address, or None.

    An IPv4 address mapped into IPv6 becomes IPv4. Ports, lists of proxies and scoped addresses are not read.

    >>> valid_ip(" 2001:DB8:0:0::1 ")
    '2001:db8::1'
    >>> valid_ip("192.0.2.1, 198.51.100.7") is None
    True
    """
    address_text = _text(text)
    if address_text is None or "%" in address_text:
        return None
    try:
        address = ipaddress.ip_address(address_text)
    except ValueError:
        return None
    return str(getattr(address, "ipv4_mapped", None) or address)


def valid_fbp(text: object) -> str | None:
    """Return the value of the `_fbp` cookie, or None if it is not one.

    >>> valid_fbp("fb.1.1596403881668.1116446470")
    'fb.1.1596403881668.1116446470'
    """
    return _matching(_META_COOKIE, text)


def valid_fbc(text: object) -> str | None:
    """Return the value of the `_fbc` cookie, its case kept, or None if it is not one.

    >>> valid_fbc("fb.1.1554763741205.AbCdEfGhIjKlMnOpQrStUvWxYz1234567890")
    'fb.1.1554763741205.AbCdEfGhIjKlMnOpQrStUvWxYz1234567890'
    >>> valid_fbc("fb.1.1554763741.AbCdEfGhIjKlMnOpQrStUvWxYz1234567890") is None
    True
    """
    return _matching(_META_COOKIE, text)


def valid_lead_id(text: object) -> str | None:
    """Return the 15 to 17 digits of a Meta lead id, or None.

    >>> valid_lead_id(123456789012345)
    '123456789012345'
    """
    return _matching(_LEAD_ID, text)


def _matching(pattern: re.Pattern[str], value: object) -> str | None:
    text = _text(value)
    return text if text is not None and pattern.fullmatch(text) else None
