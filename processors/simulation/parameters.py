"""What a simulated market is like: one dataclass of parameters, with the worlds that have a name."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

__all__ = ["VARIATIONS", "WORLDS", "World", "WorldError", "parse_world", "vary"]


class WorldError(ValueError):
    """The parameters describe no world; the message names each that is wrong."""


def _both_ends(value: Any) -> Any:
    """One number stands for the same value in every ad."""
    return (value, value) if isinstance(value, int | float) else value


def _ascending(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError("the lower end comes first")
    return value


Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]
#: Lowest and highest value among the ads, which lie evenly between; one number is the same for all of them.
ShareByAd = Annotated[tuple[Share, Share], BeforeValidator(_both_ends), AfterValidator(_ascending)]
HoursByAd = Annotated[tuple[Positive, Positive], BeforeValidator(_both_ends), AfterValidator(_ascending)]
Devices = Annotated[tuple[Count, Count], AfterValidator(_ascending)]


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class World:
    """A market. Shares are between 0 and 1; `_h` hours, `_days` days.

    Of clicks and people
        clicks, people, households: how many; every person clicks at least once and lives in a household.
        return_share, return_median_days, return_sigma: a further click follows the person's first one at a lognormal
            gap with this probability, and lies anywhere in the window otherwise.
        same_ad_share: a further click is on the ad of the first.
        logged_in_share: clicks that carry the person's hashed e-mail. login_persistence: of it, what is the
            person's habit rather than chance.
    Of ads
        ads, sites: how many; ad_size_sigma, ad_rate_sigma: of the lognormal clicks and conversions per click of one.
    Of conversions
        ad_caused, organic: how many. organic_in_clicker_households: by another member of a clicker's household.
        delay_median_h, delay_sigma, delay_max_days: from the click to the conversion it caused, lognormal, cut.
        cross_device_share: on another device of the person. other_network_share: from another network.
        switchers_log_in: how much more often than others people change the device who log in: with 1 those who always
            do, twice as often as the average. Identifiers of clicks and of people then depend on each other.
        click_id_kept_ios, click_id_kept_other: a conversion on the click's device still knows it;
            click_id_half_life_days: and ever fewer do, the longer it took.
        email_share: conversions with a hashed e-mail.
    Of devices
        ios_share: people whose first device is an iPhone. second_device_share: clicks on their second one.
        shared_device_share: people whose second device is the household's.
        organic_second_device_share: organic conversions on the second device.
        browser_release_days: between two releases of a browser.
        android_models, android_builds: how many are about; together with the rest they make most of them unlike.
    Of networks
        carrier_share, office_share: clicks from there; the others are at home.
        carrier_devices, office_devices: of the simulated people, behind one address; log-uniform between the two.
        carrier_address_days: until a phone has another address of its carrier's four.
        home_address_days: until a home has another IPv4 address; home_block_kept_share: in the same /24.
        ipv6_share: homes with an IPv6 network, which they keep.
    """

    account_id: Annotated[str, Field(min_length=1, max_length=256)] = "simulated"
    start: date = date(2026, 1, 1)
    days: Annotated[int, Field(ge=2, le=365)] = 30

    clicks: Count = 200_000
    people: Count = 120_000
    households: Count = 56_000
    return_share: Share = 0.6
    return_median_days: Positive = 1.5
    return_sigma: Positive = 1.5
    same_ad_share: Share = 0.2
    logged_in_share: ShareByAd = (0.27, 0.27)
    login_persistence: Share = 0.75

    ads: Count = 30
    sites: Count = 1
    ad_size_sigma: Annotated[float, Field(ge=0)] = 0.8
    ad_rate_sigma: Annotated[float, Field(ge=0)] = 0.3

    ad_caused: Count = 12_000
    organic: Annotated[int, Field(ge=0)] = 6_750
    organic_in_clicker_households: Share = 1 / 6
    delay_median_h: HoursByAd = (8.0, 8.0)
    delay_sigma: Positive = 1.5
    delay_max_days: Positive = 30.0
    cross_device_share: ShareByAd = (0.30, 0.30)
    other_network_share: Share = 0.25
    switchers_log_in: Share = 0.0
    click_id_kept_ios: Share = 0.60
    click_id_kept_other: Share = 0.70
    click_id_half_life_days: Positive = 5.0
    email_share: Share = 0.60

    ios_share: ShareByAd = (0.45, 0.45)
    second_device_share: Share = 0.1
    shared_device_share: Share = 0.2
    organic_second_device_share: Share = 0.3
    browser_release_days: Positive = 28.0
    android_models: Count = 2_000
    android_builds: Count = 12

    carrier_share: Share = 0.35
    office_share: Share = 0.10
    carrier_devices: Devices = (200, 5_000)
    office_devices: Devices = (20, 500)
    carrier_address_days: Positive = 3.0
    home_address_days: Positive = 20.0
    home_block_kept_share: Share = 0.5
    ipv6_share: Share = 0.4

    @model_validator(mode="after")
    def _fits_together(self) -> "World":
        problems = [
            (self.people > self.clicks, f"people: {self.people} cannot all click in {self.clicks} clicks"),
            (self.households > self.people, f"households: {self.households} for {self.people} people"),
            (self.ads < self.sites, f"sites: {self.sites} for {self.ads} ads, and an ad leads to one"),
            (2 * self.ad_caused > self.clicks, f"ad_caused: {self.ad_caused} of {self.clicks} clicks; at most half"),
            (self.carrier_share + self.office_share > 1, "carrier_share and office_share come to more than 1"),
        ]
        if found := [message for wrong, message in problems if wrong]:
            raise ValueError("; ".join(found))
        return self

    @property
    def start_ms(self) -> int:
        """Midnight, UTC, at which the window begins; milliseconds since 1970."""
        return int(datetime(self.start.year, self.start.month, self.start.day, tzinfo=UTC).timestamp() * 1000)

    @property
    def end_ms(self) -> int:
        """When the window ends; milliseconds since 1970."""
        return self.start_ms + self.days * 86_400_000

    def scaled(self, factor: float) -> "World":
        """The same market, with `factor` times the people, clicks and conversions.

        >>> World().scaled(0.01).clicks
        2000
        """
        counts = ("clicks", "people", "households", "ad_caused", "organic")
        return replace(self, **{name: max(1, round(getattr(self, name) * factor)) for name in counts})


#: Ads with audiences of their own: what one constant for all of them cannot describe.
_AUDIENCES = World(
    ios_share=(0.06, 0.72),
    logged_in_share=(0.10, 0.48),
    cross_device_share=(0.15, 0.45),
    delay_median_h=(2.0, 32.0),
)
WORLDS: Mapping[str, World] = {
    "default": World(),
    "audiences": _AUDIENCES,
    "audiences-200-ads": replace(_AUDIENCES, ads=200),
    "audiences-dependent": replace(_AUDIENCES, switchers_log_in=1.0),
}

#: What is changed of a world to see what the matcher makes of it.
VARIATIONS: Mapping[str, Mapping[str, Any]] = {
    "carrier NAT 20 %": {"carrier_share": 0.20},
    "carrier NAT 60 %": {"carrier_share": 0.60},
    "other network 50 %": {"other_network_share": 0.50},
    "delay median 48 h": {"delay_median_h": (48.0, 48.0)},
    "cross-device 45 %": {"cross_device_share": (0.45, 0.45)},
    "ten sites": {"sites": 10},
    "organic 60 %": {"organic": 18_000},
}


def vary(world: World, changes: Mapping[str, Any]) -> World:
    """The world with some parameters changed. Raises WorldError, naming each that is unknown or wrong.

    >>> vary(World(), {"ios_share": 0.2}).ios_share
    (0.2, 0.2)
    >>> vary(World(), {"iphones": 1})
    Traceback (most recent call last):
    processors.simulation.parameters.WorldError: iphones: Unexpected keyword argument
    """
    try:
        return TypeAdapter(World).validate_python({**asdict(world), **changes})
    except ValidationError as error:
        lines = [": ".join(filter(None, (".".join(map(str, e["loc"])), e["msg"]))) for e in error.errors()]
        raise WorldError("\n".join(lines)) from None


def parse_world(text: str) -> World:
    """A world from TOML: `world` names the one to begin with (default), every other key is a parameter.

    Raises WorldError, naming each that is unknown or wrong.

    >>> parse_world('world = "audiences"\\nads = 12').ads
    12
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise WorldError(f"not TOML: {error}") from error
    name = given.pop("world", "default")
    if name not in WORLDS:
        raise WorldError(f"world: {name!r} is none of {', '.join(WORLDS)}")
    return vary(WORLDS[name], given)
