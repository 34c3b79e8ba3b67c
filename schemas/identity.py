"""Direct identifiers are normalised and hashed here, at the publishing edge, and never travel in the clear.

The rules are the ones Meta publishes for the Conversions API: a field is normalised, then hashed with
SHA-256. An identifier that cannot be normalised is dropped and can be counted; it never takes its event with
it, and nothing in this module raises on what a customer typed.

Some fields must not be hashed: the client's address, its user agent, `fbc`, `fbp` and `lead_id`. They have
validators instead, which give the value back or None. Landing pages and referrers carry identifiers by
accident, and go through `redact_url`.

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
from urllib.parse import unquote

import phonenumbers

__all__ = [
    "EMAIL",
    "EXTERNAL_ID",
    "IDENTIFIER_FIELDS",
    "PHONE",
    "hash_fields",
    "hash_identifier",
    "normalise",
    "redact_url",
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
    return state if state in _US_STATE_CODES else _US_STATES.get(state)


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
    """ISO 3166-1 alpha-2, from alpha-2, alpha-3 or one of the names in `_COUNTRY_NAMES`."""
    key = _letters(text)
    return key if key in _ALPHA_2 else _COUNTRY_NAMES.get(key)


def _external_id(text: str, _: str | None) -> str:
    """As it is, case included: whether two ids that differ in case are one is the issuer's to know."""
    return text


# --- Tables ---


def _codes_by_name(pairs: str) -> dict[str, str]:
    """Read `code:some_name` pairs into a dict from `somename`, as `_letters` leaves a name, to the code."""
    return {name.replace("_", ""): code for code, name in (pair.split(":") for pair in pairs.split())}


_US_STATES: Final = _codes_by_name("""
    al:alabama ak:alaska az:arizona ar:arkansas ca:california co:colorado ct:connecticut de:delaware
    fl:florida ga:georgia hi:hawaii id:idaho il:illinois in:indiana ia:iowa ks:kansas ky:kentucky
    la:louisiana me:maine md:maryland ma:massachusetts mi:michigan mn:minnesota ms:mississippi
    mo:missouri mt:montana ne:nebraska nv:nevada nh:new_hampshire nj:new_jersey nm:new_mexico
    ny:new_york nc:north_carolina nd:north_dakota oh:ohio ok:oklahoma or:oregon pa:pennsylvania
    ri:rhode_island sc:south_carolina sd:south_dakota tn:tennessee tx:texas ut:utah vt:vermont
    va:virginia wa:washington wv:west_virginia wi:wisconsin wy:wyoming
    dc:district_of_columbia dc:washington_dc as:american_samoa gu:guam mp:northern_mariana_islands
    pr:puerto_rico vi:virgin_islands vi:us_virgin_islands
    """)
# The three are the postal codes of the armed forces abroad, which have no name.
_US_STATE_CODES: Final = frozenset(_US_STATES.values()) | {"aa", "ae", "ap"}

# ISO 3166-1, each alpha-2 code followed by its alpha-3 code, and Kosovo's user-assigned pair.
_ISO_3166_1: Final = """
    adand aeare afafg agatg aiaia alalb amarm aoago aqata ararg asasm ataut auaus awabw axala azaze
    babih bbbrb bdbgd bebel bfbfa bgbgr bhbhr bibdi bjben blblm bmbmu bnbrn bobol bqbes brbra bsbhs
    btbtn bvbvt bwbwa byblr bzblz cacan cccck cdcod cfcaf cgcog chche ciciv ckcok clchl cmcmr cnchn
    cocol crcri cucub cvcpv cwcuw cxcxr cycyp czcze dedeu djdji dkdnk dmdma dodom dzdza ececu eeest
    egegy ehesh ereri esesp eteth fifin fjfji fkflk fmfsm fofro frfra gagab gbgbr gdgrd gegeo gfguf
    ggggy ghgha gigib glgrl gmgmb gngin gpglp gqgnq grgrc gssgs gtgtm gugum gwgnb gyguy hkhkg hmhmd
    hnhnd hrhrv hthti huhun ididn ieirl ilisr imimn inind ioiot iqirq irirn isisl itita jejey jmjam
    jojor jpjpn keken kgkgz khkhm kikir kmcom knkna kpprk krkor kwkwt kycym kzkaz lalao lblbn lclca
    lilie lklka lrlbr lslso ltltu lulux lvlva lylby mamar mcmco mdmda memne mfmaf mgmdg mhmhl mkmkd
    mlmli mmmmr mnmng momac mpmnp mqmtq mrmrt msmsr mtmlt mumus mvmdv mwmwi mxmex mymys mzmoz nanam
    ncncl nener nfnfk ngnga ninic nlnld nonor npnpl nrnru nuniu nznzl omomn papan peper pfpyf pgpng
    phphl pkpak plpol pmspm pnpcn prpri pspse ptprt pwplw pypry qaqat rereu rorou rssrb rurus rwrwa
    sasau sbslb scsyc sdsdn seswe sgsgp shshn sisvn sjsjm sksvk slsle smsmr snsen sosom srsur ssssd
    ststp svslv sxsxm sysyr szswz tctca tdtcd tfatf tgtgo ththa tjtjk tktkl tltls tmtkm tntun toton
    trtur tttto tvtuv twtwn tztza uaukr uguga umumi ususa uyury uzuzb vavat vcvct veven vgvgb vivir
    vnvnm vuvut wfwlf wswsm xkxkx yeyem ytmyt zazaf zmzmb zwzwe
    """
_ALPHA_2: Final = frozenset(pair[:2] for pair in _ISO_3166_1.split())

# Names as checkouts and CRMs of the larger advertising markets write them; other names are dropped.
_COUNTRY_NAMES: Final = {pair[2:]: pair[:2] for pair in _ISO_3166_1.split()} | _codes_by_name("""
    ae:united_arab_emirates ae:uae ar:argentina at:austria au:australia bd:bangladesh be:belgium
    bg:bulgaria br:brazil ca:canada ch:switzerland cl:chile cn:china co:colombia cy:cyprus cz:czechia
    cz:czech_republic de:germany dk:denmark ee:estonia eg:egypt es:spain fi:finland fr:france
    gb:uk gb:united_kingdom gb:great_britain gb:england gb:scotland gb:wales gb:northern_ireland
    gr:greece hk:hong_kong hr:croatia hu:hungary id:indonesia ie:ireland il:israel in:india
    is:iceland it:italy jp:japan ke:kenya kr:south_korea lk:sri_lanka lt:lithuania lu:luxembourg
    lv:latvia ma:morocco mt:malta mx:mexico my:malaysia ng:nigeria nl:netherlands nl:the_netherlands
    no:norway nz:new_zealand pe:peru ph:philippines pk:pakistan pl:poland pt:portugal qa:qatar
    ro:romania rs:serbia sa:saudi_arabia se:sweden sg:singapore si:slovenia sk:slovakia th:thailand
    tr:turkey tr:türkiye tw:taiwan ua:ukraine us:united_states us:united_states_of_america
    vn:vietnam za:south_africa
    """)

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


# --- Addresses of pages ---

_REDACTED = "redacted"

# Parameters that hold an identifier or a secret whatever their value looks like. The first group may have
# any prefix (utm_email, accessToken), the second one that ends in a separator (contact[phone], not
# headphone), the third none (campaign_name and is_mobile are about nobody).
_DIRECT_NAME = (
    r"(?:[^?&;=]*(?:e[-_]?mail(?:[-_]?address)?|(?:tele|mobile[-_]?)phone|phone[-_]?number|msisdn"
    r"|(?:first|last|full|sur|family|given)[-_]?name|birth[-_]?(?:date|day)|date[-_]?of[-_]?birth"
    r"|password|passwd|token)"
    r"|(?:[^?&;=]*[^a-z0-9?&;=])?(?:phone|pwd|dob)"
    r"|mail|tel|mobile|name|user[-_]?name)\]?"
)
_NAME = re.compile(_DIRECT_NAME, re.IGNORECASE)
_NESTED_NAME = re.compile(rf"(?:^|[?&;]){_DIRECT_NAME}=[^&;]", re.IGNORECASE)
_ADDRESS = re.compile(r"[^\s@/?&=\#:;,<>()]@(?:[^\s@/?&=\#:;,<>()\"'.]+\.)+[^\W\d_]")
_AUTHORITY = re.compile(r"[\x00-\x20]*(?:[a-z][a-z0-9+.-]*:)?[/\\]{2}", re.IGNORECASE)

# The quick test that lets most pages through: an encoded @ or =, or a = after the end of a name above. It
# must catch whatever the names above do. Anchored at the =, of which a page has few; the two classes, and
# the ids of clicks and campaigns being no such names, save the look at each ending.
_ENCODED_SEPARATOR = re.compile(r"%(?:25)*(?:40|3d)", re.IGNORECASE)
_NAME_ENDINGS = "mail address phone number msisdn name date day birth password passwd token pwd dob tel mobile 5d"
_NAME_END = re.compile(
    r"=(?:(?<=\]=)|(?<=[{}][{}]=)(?<!id=)(?:{}))".format(
        "".join(sorted({ending[-2] for ending in _NAME_ENDINGS.split()})),
        "".join(sorted({ending[-1] for ending in _NAME_ENDINGS.split()})),
        "|".join(f"(?<={ending}=)" for ending in _NAME_ENDINGS.split()),
    ),
    re.IGNORECASE,
)
# Nobody nests redirects deeper; what is still encoded after that is taken for an identifier.
_DEEPEST_ENCODING = 8


def redact_url(url: str) -> str:
    """Return the URL of a page without direct identifiers; everything else stays byte for byte.

    User and password and the fragment are removed. `redacted` stands for the value of a parameter which has
    an e-mail address in it, however often encoded, or the name of an identifier (`_DIRECT_NAME`), and for a
    segment of the path with either. It errs on the side of redacting: img@2x.png looks like an address.

    The text is cut, never parsed and put together again, so there is no URL it cannot read, and click ids
    keep their case and their encoding. What is not text gives "".

    >>> redact_url("https://jo:pw@shop.example/thanks?Email=jo%40shop.example&fbclid=IwAR0_aB#top")
    'https://shop.example/thanks?Email=redacted&fbclid=IwAR0_aB'
    >>> redact_url("https://shop.example/unsubscribe/jo@shop.example?utm_source=fb")
    'https://shop.example/unsubscribe/redacted?utm_source=fb'
    """
    if not isinstance(url, str):
        return ""
    if "@" in url or "#" in url or _NAME_END.search(url) or ("%" in url and _ENCODED_SEPARATOR.search(url)):
        return _redact(url)
    return url


def _redact(url: str) -> str:
    address, question_mark, query = url.partition("#")[0].partition("?")
    path = "/".join(map(_redact_token, _without_userinfo(address).split("/")))
    return path + question_mark + "&".join(map(_redact_parameter, query.split("&")))


def _without_userinfo(address: str) -> str:
    start = _AUTHORITY.match(address)
    if start is None:
        return address
    authority, slash, path = address[start.end() :].partition("/")
    return start[0] + authority.rpartition("@")[2] + slash + path


def _redact_parameter(parameter: str) -> str:
    name, equals, value = parameter.partition("=")
    if value and not _discloses(name) and (_is_direct(name) or _discloses(value)):
        return name + equals + _REDACTED
    return _redact_token(parameter)


def _redact_token(token: str) -> str:
    return _REDACTED if _discloses(token) else token


def _is_direct(encoded_name: str) -> bool:
    if not _NAME_END.search(encoded_name + "="):
        return False
    name = _decoded(encoded_name)
    return name is None or bool(_NAME.fullmatch(name))


def _discloses(encoded: str) -> bool:
    text = _decoded(encoded)
    if text is None:
        return True
    return bool(("@" in text and _ADDRESS.search(text)) or ("=" in text and _NESTED_NAME.search(text)))


def _decoded(text: str) -> str | None:
    """Return the text without any percent-encoding, or None if there is no end to it."""
    for _ in range(_DEEPEST_ENCODING):
        if "%" not in text:
            return text
        decoded = unquote(text)
        if decoded == text:
            return text
        text = decoded
    return None
