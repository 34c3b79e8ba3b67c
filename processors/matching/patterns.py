"""What a conversion and a click have in common, as one number: the cell of the joint tables that the pair falls into.

Network and device are told apart together, since they depend on each other: on the address of a home a rare device
is the person's, and a different one is as likely the partner's. How common the value that agrees is belongs to the
pattern; an address of a carrier, or an iPhone, says little.
"""

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import ClickIndex, Counts, Ints, Pairs
from processors.matching.evidence import MISSING, Evidence, Hashes

__all__ = [
    "DEVICES",
    "NETWORKS",
    "PATTERNS",
    "common_languages",
    "commonness",
    "conflicts",
    "is_rare_device",
    "is_same_address",
    "patterns",
]

#: Clicks of 30 days up to which an address, its neighbourhood, a fingerprint and a device fall into a class.
ADDRESS_CLASSES = (5, 30, 100)
BLOCK_CLASSES = (30,)
FINGERPRINT_CLASSES = (3, 10, 30, 100, 300, 1_000)
DEVICE_CLASSES = (10, 100)
NETWORKS = (
    *(f"same address of up to {most}" for most in ADDRESS_CLASSES),
    "same address of more",
    *(f"same block of up to {most}" for most in BLOCK_CLASSES),
    "same block of more",
    "another network",
)
DEVICES = (
    *(f"same fingerprint of up to {most}" for most in FINGERPRINT_CLASSES),
    "same fingerprint of more",
    *(f"same device, renewed browser, of up to {most}" for most in DEVICE_CLASSES),
    "same device, renewed browser, of more",
    *("same system, same rare language", "same system, same common language", "same system, another language"),
    *("another system, same rare language", "another system, same common language", "another system and language"),
)
PATTERNS = len(NETWORKS) * len(DEVICES)
#: A language of so many of the clicks is common.
COMMON_LANGUAGE = 0.1
#: What names a person or a click. Cookies are not among them: they are lost, and a new one says nothing of the old.
IDENTIFIERS = ("click_id", "fbclid", "email", "phone", "external_id")


def patterns(pairs: Pairs, conversions: Evidence, clicks: Evidence, counts: Counts, common_languages: Hashes) -> Ints:
    """The pattern of each pair: network * len(DEVICES) + device, in [0, PATTERNS). Shape (pairs,)."""
    of = pairs.conversion
    agrees = {name: _agree(name, pairs, conversions, clicks) for name in ("ip", "block", "fingerprint", "device")}
    network = np.select(
        [agrees["ip"], agrees["block"]],
        [
            np.searchsorted(ADDRESS_CLASSES, counts.ip)[of],
            len(ADDRESS_CLASSES) + 1 + np.searchsorted(BLOCK_CLASSES, counts.block)[of],
        ],
        len(NETWORKS) - 1,
    )
    is_common = np.isin(conversions.language, common_languages)[of]
    language = np.where(_agree("language", pairs, conversions, clicks), np.where(is_common, 1, 0), 2)
    others = len(FINGERPRINT_CLASSES) + len(DEVICE_CLASSES) + 2
    device = np.select(
        [agrees["fingerprint"], agrees["device"]],
        [
            np.searchsorted(FINGERPRINT_CLASSES, counts.fingerprint)[of],
            len(FINGERPRINT_CLASSES) + 1 + np.searchsorted(DEVICE_CLASSES, counts.device)[of],
        ],
        others + 3 * ~_agree("system", pairs, conversions, clicks) + language,
    )
    return network * len(DEVICES) + device


def commonness(pairs: Pairs, pattern: Ints, counts: Counts) -> npt.NDArray[np.float64]:
    """Clicks of the last 30 days with what agrees of the device: its fingerprint, or the device alone; else 1."""
    device = pattern % len(DEVICES)
    first = len(FINGERPRINT_CLASSES) + 1
    second = first + len(DEVICE_CLASSES) + 1
    found = np.select(
        [device < first, device < second], [counts.fingerprint[pairs.conversion], counts.device[pairs.conversion]], 1
    )
    clicks: npt.NDArray[np.float64] = np.maximum(found, 1).astype(np.float64)
    return clicks


def conflicts(pairs: Pairs, conversions: Evidence, clicks: Evidence) -> npt.NDArray[np.bool_]:
    """Pairs of which both have an identifier of a kind, and not the same: whatever else agrees, they are not one's."""
    found = np.zeros(len(pairs.click), np.bool_)
    for name in IDENTIFIERS:
        one, other = getattr(conversions, name)[pairs.conversion], getattr(clicks, name)[pairs.click]
        found |= (one != MISSING) & (other != MISSING) & (one != other)
    return found


def common_languages(index: ClickIndex) -> Hashes:
    """The languages that many of the clicks are in."""
    values, counts = index.languages
    common: Hashes = values[(values != MISSING) & (counts > COMMON_LANGUAGE * counts.sum())]
    return common


def _agree(name: str, pairs: Pairs, conversions: Evidence, clicks: Evidence) -> npt.NDArray[np.bool_]:
    one: Hashes = getattr(conversions, name)[pairs.conversion]
    other: Hashes = getattr(clicks, name)[pairs.click]
    return np.not_equal(one, MISSING) & np.equal(one, other)


def is_rare_device(pattern: Ints) -> npt.NDArray[np.bool_]:
    """Patterns in which a device agrees that few have: at most 30 clicks of 30 days with its fingerprint."""
    device = pattern % len(DEVICES)
    return np.isin(device, (0, 1, 2, len(FINGERPRINT_CLASSES) + 1))


def is_same_address(pattern: Ints) -> npt.NDArray[np.bool_]:
    """Patterns in which an address agrees that few enough share to say something."""
    return np.less(pattern // len(DEVICES), len(ADDRESS_CLASSES))
