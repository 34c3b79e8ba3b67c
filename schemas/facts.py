"""The shape in which facts travel between a role and its store.

A fact is (tenant, id, digest of its content). Facts are stored by id, never appended and never overwritten,
so that storing one twice changes nothing and the order of arrival does not matter. Of several contents under
one id the one that counts is the greatest by (source version, ingest time, digest).
"""

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple

__all__ = ["Fact", "HeldConversion", "HeldFact", "digest", "identifier"]


class Fact(NamedTuple):
    """A touchpoint or a conversion on its way into the store.

    identifiers: what it can be asked by, from `identifier`; it is stored under every one of them.
    content: opaque to the store.
    expires_at_s: seconds since the epoch.
    """

    account_id: str
    id: str
    digest: bytes
    content: bytes
    identifiers: Sequence[str]
    expires_at_s: int


class HeldFact(NamedTuple):
    """One content held under an id."""

    id: str
    digest: bytes
    content: bytes


class HeldConversion(NamedTuple):
    """All that is held for a conversion, read at one moment.

    facts_held: the number of contents and touchpoints read. It only grows, so that of two readings the one
    with more facts is the later one, and two with the same number are the same.
    """

    account_id: str
    conversion_id: str
    contents: Sequence[HeldFact]
    touchpoints: Sequence[HeldFact]
    facts_held: int


def digest(message: bytes) -> bytes:
    """Eight bytes that stand for the content of a message."""
    return blake2b(message, digest_size=8).digest()


def identifier(account_id: str, kind: str, value: str) -> str:
    """An identifier inside its tenant. The length in front keeps two tenants' identifiers apart.

    >>> identifier("acme", "v", "visitor-1")
    '4:acme:v:visitor-1'
    """
    return f"{len(account_id)}:{account_id}:{kind}:{value}"
