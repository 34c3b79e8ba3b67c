"""Addresses of pages carry direct identifiers by accident: what forms and mailings put into them is cut out."""

import re
from urllib.parse import unquote

__all__ = ["redact_text", "redact_url"]

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
    path = "/".join(map(redact_text, _without_userinfo(address).split("/")))
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
    return redact_text(parameter)


def redact_text(token: str) -> str:
    """The text, unless it holds an e-mail address or a parameter that names a person; then `redacted`.

    >>> redact_text("spring-sale"), redact_text("jo@shop.example")
    ('spring-sale', 'redacted')
    """
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
