"""Networks of a simulated market: who shares an address with whom, and for how long.

Addresses are from 240.0.0.0/4 and 2001:db8::/32, which nobody has: what is simulated can meet no real person's.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa

from processors.simulation.chance import Floats, Ints, choose, log_uniform, scatter
from processors.simulation.parameters import World

__all__ = ["CARRIER", "ELSEWHERE", "HOME", "OFFICE", "PLACES", "Networks", "addresses", "make_networks"]

HOME, OFFICE, CARRIER, ELSEWHERE = PLACES = range(4)
#: Time zones of the market and how many people live there; a home's region is in one of them.
TIME_ZONES = ("America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Phoenix")
TIME_ZONE_WEIGHTS = (0.46, 0.28, 0.06, 0.17, 0.03)
LANGUAGES = (
    "en-US",
    "es-US",
    "es-MX",
    "en-GB",
    "zh-CN",
    "es-419",
    "vi-VN",
    "ko-KR",
    "fr-FR",
    "pt-BR",
    "ru-RU",
    "de-DE",
)
LANGUAGE_WEIGHTS = (0.78, 0.08, 0.03, 0.025, 0.02, 0.015, 0.01, 0.01, 0.01, 0.01, 0.005, 0.005)
HOMES_A_REGION = 300
BLOCKS_A_REGION = 64
CARRIER_POOL = 4
#: Of visits to a home with IPv6, those that go over it.
IPV6_USE = 0.9
_HOMES, _OFFICES, _CARRIERS, _ELSEWHERE = (number << 24 for number in (240, 248, 249, 250))


class Networks(NamedTuple):
    """Where people are online. By household: `region`, `has_ipv6`, `phase` of the address, days. By person: `office`,
    `carrier` (a pool of addresses), `carrier_phase`, days. `zone` by region."""

    region: Ints
    has_ipv6: Ints
    phase: Floats
    office: Ints
    carrier: Ints
    carrier_phase: Floats
    zone: Ints


def make_networks(world: World, rng: np.random.Generator, household: Ints, households: int) -> Networks:
    """Networks for people who live in `household`, shape (people,)."""
    people = len(household)
    regions = max(1, households // HOMES_A_REGION)
    return Networks(
        region=rng.integers(0, regions, households),
        has_ipv6=(rng.random(households) < world.ipv6_share).astype(np.int64),
        phase=rng.uniform(0, world.home_address_days, households),
        office=_shared(rng, world.office_devices, people),
        carrier=_shared(
            rng, (CARRIER_POOL * world.carrier_devices[0], CARRIER_POOL * world.carrier_devices[1]), people
        ),
        carrier_phase=rng.uniform(0, world.carrier_address_days, people),
        zone=choose(rng, TIME_ZONE_WEIGHTS, regions),
    )


def _shared(rng: np.random.Generator, sizes: tuple[int, int], people: int) -> Ints:
    """Which of the places that so many people share each belongs to."""
    mean = (sizes[1] - sizes[0]) / np.log(sizes[1] / sizes[0]) if sizes[0] < sizes[1] else sizes[0]
    weights = log_uniform(rng, sizes, max(1, round(people / float(mean))))
    return choose(rng, weights.astype(np.float64), people)


def addresses(
    world: World, networks: Networks, place: Ints, person: Ints, household: Ints, device: Ints, day: Floats, visit: Ints
) -> pa.Array:
    """The address of each visit; all have its shape. `visit` numbers it, for what is a place of its own."""
    region = networks.region[household]
    home_epoch = np.floor((day + networks.phase[household]) / world.home_address_days).astype(np.int64)
    kept = scatter(household, home_epoch, 1) % 1_000 < 1_000 * world.home_block_kept_share
    block = scatter(household, np.where(kept, -1, home_epoch), 2) % BLOCKS_A_REGION
    home = _HOMES + (region * BLOCKS_A_REGION + block) * 256 + 1 + scatter(household, home_epoch, 3) % 254
    carrier_epoch = np.floor((day + networks.carrier_phase[person]) / world.carrier_address_days).astype(np.int64)
    turn = scatter(person, carrier_epoch, 4) % CARRIER_POOL
    version4 = np.select(
        [place == HOME, place == OFFICE, place == CARRIER],
        [
            home,
            _OFFICES + networks.office[person] * 256 + 10,
            _CARRIERS + networks.carrier[person] * 256 + 20 + turn,
        ],
        _ELSEWHERE + scatter(visit, 5) % (1 << 24),
    )
    over_ipv6 = (place == HOME) & (networks.has_ipv6[household] == 1) & (scatter(visit, 6) % 1_000 < 1_000 * IPV6_USE)
    texts = _ipv4(version4)
    texts[over_ipv6] = _ipv6(
        region[over_ipv6], household[over_ipv6], scatter(device, np.floor(day).astype(np.int64))[over_ipv6]
    )
    return pa.array(texts, pa.string())


def _ipv4(numbers: Ints) -> np.ndarray:
    distinct, inverse = np.unique(numbers, return_inverse=True)
    texts = [f"{n >> 24}.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}" for n in distinct.tolist()]
    return np.array(texts, object)[inverse]


def _ipv6(region: Ints, household: Ints, host: Ints) -> list[str]:
    """A home has a /56 of its own in a /48 of its provider; a device takes another host part every day."""
    return [
        f"2001:db8:{r % 65_536:x}:{h % 256:x}{h // 256 % 256:02x}:{d >> 40 & 0xFFFF:x}:{d >> 24 & 0xFFFF:x}:1:1"
        for r, h, d in zip(region.tolist(), household.tolist(), host.tolist(), strict=True)
    ]
