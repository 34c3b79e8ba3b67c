"""A simulated market as a tracker would publish it, in columns of the contract, and the truth beside it."""

import hashlib
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from processors.simulation.chance import Floats, Ints, Mask, scatter
from processors.simulation.devices import screens, user_agents
from processors.simulation.networks import LANGUAGES, PLACES, TIME_ZONES, addresses
from processors.simulation.world import Market
from schemas.definitions import arrow_schema, definition

__all__ = ["Tables", "tables_of"]

CURRENCY = "USD"
#: Days a browser keeps its cookie: Safari a week of what scripts have set, the others longer than the window.
COOKIE_DAYS_IOS, COOKIE_DAYS_OTHER = 7.0, 400.0
MEDIAN_VALUE, VALUE_SIGMA = 60.0, 0.7
PLACE_NAMES = ("home", "office", "carrier", "elsewhere")


class Tables(NamedTuple):
    """What is published, and what only a simulation knows.

    clicks, conversions: fields of the contract, in order of event time.
    click_truth: click_id, person_id, household_id, device_id, network.
    conversion_truth: conversion_id, the same of its buyer, caused_by (click_id) and ad_id, both null for organic ones.
    """

    clicks: pa.Table
    conversions: pa.Table
    click_truth: pa.Table
    conversion_truth: pa.Table


def tables_of(market: Market, seed: int) -> Tables:
    """The tables of a market. `seed` decides what no other draw depends on: values and ids."""
    clicks, conversions = market.clicks, market.conversions
    click_ids, ads = _names("k", len(clicks.day)), _names("ad-", market.world.ads)
    conversion_ids = _names("c", len(conversions.day))
    emails = _emails(market)
    visitors = _cookies(market, clicks.device, clicks.day)
    fbclids = _fbclids(len(clicks.day), seed)
    caused = conversions.cause >= 0
    kept = conversions.keeps_click_id
    return Tables(
        clicks=_contract(
            "clicks",
            _visits(market, clicks.day, clicks.person, clicks.device, clicks.place, 0)
            | {
                "click_id": click_ids,
                "visitor_id": visitors,
                "ad_id": ads.take(pa.array(clicks.ad)),
                "channel": _constant("paid-social", len(clicks.day)),
                "landing_url": _pages(market.ads.site[clicks.ad], "landing"),
                "fbclid": fbclids,
                "email_sha256": _given(emails, clicks.person, clicks.logged_in),
            },
        ),
        conversions=_contract(
            "conversions",
            _visits(market, conversions.day, conversions.person, conversions.device, conversions.place, 1)
            | {
                "conversion_id": conversion_ids,
                "event_name": _constant("Purchase", len(conversions.day)),
                "click_id": _given(click_ids, conversions.cause, kept & ~conversions.only_fbclid),
                "fbclid": _given(fbclids, conversions.cause, kept),
                "visitor_id": _visitors(visitors, conversions.cause, kept),
                "email_sha256": _given(emails, conversions.person, conversions.has_email),
                "event_source_url": _pages(conversions.site, "thanks"),
                "value_micros": _values(len(conversions.day), seed),
                "currency": _constant(CURRENCY, len(conversions.day)),
            },
        ),
        click_truth=pa.table({"click_id": click_ids} | _identity(market, clicks.person, clicks.device, clicks.place)),
        conversion_truth=pa.table(
            {"conversion_id": conversion_ids}
            | _identity(market, conversions.person, conversions.device, conversions.place)
            | {
                "caused_by": _given(click_ids, conversions.cause, caused),
                "ad_id": _given(ads, clicks.ad[conversions.cause], caused),
            }
        ),
    )


def _contract(name: str, columns: dict[str, pa.Array]) -> pa.Table:
    """The columns in the order and with the types of the contract."""
    schema = arrow_schema(definition(name).text)
    fields = [field for field in schema if field.name in columns]
    return pa.table([columns[field.name].cast(field.type) for field in fields], schema=pa.schema(fields))


def _visits(market: Market, day: Floats, person: Ints, device: Ints, place: Ints, kind: int) -> dict[str, pa.Array]:
    """What a click and a conversion have in common."""
    world, people = market.world, market.people
    rows, household = len(day), people.household[person]
    width, height, ratio = screens(people.devices, device)
    visit = scatter(np.arange(rows), kind)
    return {
        "account_id": _constant(world.account_id, rows),
        "event_time": pa.array(world.start_ms + (day * 86_400_000).astype(np.int64), pa.timestamp("ms", "UTC")),
        "ip": addresses(world, people.networks, place, person, household, device, day, visit),
        "user_agent": user_agents(world, people.devices, device, day),
        "language": pa.array(LANGUAGES).take(pa.array(people.language[person])),
        "time_zone": pa.array(TIME_ZONES).take(pa.array(people.networks.zone[people.networks.region[household]])),
        "screen_width": pa.array(width),
        "screen_height": pa.array(height),
        "pixel_ratio": pa.array(ratio),
        "consent": _constant("granted", rows),
        "limited_data_use": pa.array(np.zeros(rows, np.bool_)),
    }


def _identity(market: Market, person: Ints, device: Ints, place: Ints) -> dict[str, pa.Array]:
    return {
        "person_id": pa.array(person),
        "household_id": pa.array(market.people.household[person]),
        "device_id": pa.array(device),
        "network": pa.array([PLACE_NAMES[number] for number in PLACES]).take(pa.array(place)),
    }


def _constant(text: str, rows: int) -> pa.Array:
    return pa.repeat(pa.scalar(text), rows)


def _names(prefix: str, count: int) -> pa.Array:
    return pa.array([f"{prefix}{number}" for number in range(count)], pa.string())


def _given(values: pa.Array, of: Ints, is_given: Mask) -> pa.Array:
    """`values` of the rows `of`, null where it is not given."""
    return values.take(pa.array(of, mask=~is_given))


def _emails(market: Market) -> pa.Array:
    hashes = [hashlib.sha256(b"p%d@mail.example" % person).hexdigest() for person in range(len(market.people.login))]
    return pa.array(hashes, pa.string())


def _cookies(market: Market, device: Ints, day: Floats) -> pa.Array:
    """The visitor id of a device's browser, which it loses from time to time."""
    lifetime = np.where(market.people.devices.is_ios[device], COOKIE_DAYS_IOS, COOKIE_DAYS_OTHER)
    phase = scatter(device, 8) % 1_000 / 1_000
    epoch = np.floor(day / lifetime + phase).astype(np.int64)
    return pa.array([f"v{d}-{e}" for d, e in zip(device.tolist(), epoch.tolist(), strict=True)], pa.string())


def _visitors(clicks: pa.Array, cause: Ints, kept: Mask) -> pa.Array:
    """A browser that knows its click kept the cookie; any other is new to the site."""
    new = pa.array([f"w{number}" for number in range(len(cause))], pa.string())
    return pa.compute.if_else(pa.array(kept), clicks.take(pa.array(np.maximum(cause, 0))), new)


def _fbclids(count: int, seed: int) -> pa.Array:
    numbers = scatter(np.arange(count), seed, 9).tolist()
    return pa.array([f"IwAR{number:016x}" for number in numbers], pa.string())


def _pages(site: Ints, page: str) -> pa.Array:
    urls = pa.array([f"https://shop{number}.example/{page}" for number in range(int(site.max(initial=0)) + 1)])
    return urls.take(pa.array(site))


def _values(count: int, seed: int) -> pa.Array:
    rng = np.random.default_rng([seed, 10])
    cents = np.rint(100 * MEDIAN_VALUE * rng.lognormal(0, VALUE_SIGMA, count)).astype(np.int64)
    return pa.array(cents * 10_000)
