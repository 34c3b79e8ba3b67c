"""A simulated market: who clicked what, who bought, and why. The truth that attribution never sees in life."""

from typing import NamedTuple

import numpy as np

from processors.simulation.chance import Floats, Ints, Mask, choose
from processors.simulation.networks import CARRIER, ELSEWHERE, HOME, OFFICE, PLACES
from processors.simulation.parameters import World
from processors.simulation.people import Ads, People, first_is_iphone, make_ads, make_people

__all__ = ["Clicks", "Conversions", "Market", "simulate"]

#: Visits by hour of the day, UTC: the market sleeps from 5 to 11.
HOURS = (7, 6, 5, 4, 3, 2, 1, 1, 1, 1, 1, 2, 3, 4, 5, 5, 5, 5, 5, 5, 5, 6, 6, 7)
#: Where somebody is who is not where he was, by HOME, OFFICE, CARRIER, ELSEWHERE.
AWAY = (0.30, 0.10, 0.35, 0.25)
#: Conversions that keep their click's id and know it only as Meta's.
ONLY_FBCLID = 0.2
#: Draws of a cause for each conversion that is wanted: some come too late to be seen.
SPARE_CAUSES = 1.6


class Clicks(NamedTuple):
    """Columns with a row a click, by `day` (days since the window began)."""

    day: Floats
    person: Ints
    device: Ints
    place: Ints
    ad: Ints
    logged_in: Mask


class Conversions(NamedTuple):
    """Columns with a row a conversion, by `day`. `cause` is the row of the click that caused it, -1 where none did."""

    day: Floats
    person: Ints
    device: Ints
    place: Ints
    site: Ints
    cause: Ints
    keeps_click_id: Mask
    only_fbclid: Mask
    has_email: Mask


class Market(NamedTuple):
    """A world as it came out."""

    world: World
    ads: Ads
    people: People
    clicks: Clicks
    conversions: Conversions


def simulate(world: World, seed: int) -> Market:
    """The market of a number: the same for the same world and seed. About two seconds for the default world."""
    rng = np.random.default_rng(seed)
    ads = make_ads(world, rng)
    people = make_people(world, rng, ads)
    clicks = _clicks(world, rng, ads, people)
    caused = _caused(world, rng, ads, people, clicks)
    organic = _organic(world, rng, ads, people)
    columns = {name: np.concatenate([getattr(caused, name), getattr(organic, name)]) for name in Conversions._fields}
    order = np.argsort(columns["day"], kind="stable")
    conversions = Conversions(**{name: column[order] for name, column in columns.items()})
    return Market(world, ads, people, clicks, conversions)


def _clicks(world: World, rng: np.random.Generator, ads: Ads, people: People) -> Clicks:
    further = world.clicks - world.people
    eagerness = rng.gamma(0.7, 1.0, world.people)
    person = np.concatenate([np.arange(world.people), choose(rng, eagerness, further)])
    day, ad = _times(world, rng, further, person), _ads_clicked(world, rng, ads, people, person)
    order = np.argsort(day, kind="stable")
    first = rng.random(len(person)) >= world.second_device_share
    habit = np.where(rng.random(len(person)) < world.login_persistence, people.login[person], rng.random(len(person)))
    device = np.where(first, people.first_device[person], people.second_device[person])
    place = choose(rng, _usual_places(world), len(person))
    return Clicks(
        day=day[order],
        person=person[order],
        device=device[order],
        place=place[order],
        ad=ad[order],
        logged_in=(habit < ads.logged_in[ad])[order],
    )


def _times(world: World, rng: np.random.Generator, further: int, person: Ints) -> Floats:
    """Of each person's first click, then of the `further` ones."""
    first, anywhere = _by_daylight(world, rng, len(person) - further), _by_daylight(world, rng, further)
    gap = world.return_median_days * rng.lognormal(0, world.return_sigma, further)
    returned = first[person[len(first) :]] + gap
    follows = (rng.random(further) < world.return_share) & (returned < world.days)
    return np.concatenate([first, np.where(follows, returned, anywhere)])


def _by_daylight(world: World, rng: np.random.Generator, size: int) -> Floats:
    return rng.integers(0, world.days, size) + (choose(rng, HOURS, size) + rng.random(size)) / 24


def _usual_places(world: World) -> Floats:
    """How many visits are from each place."""
    weights = np.zeros(len(PLACES))
    weights[[OFFICE, CARRIER]] = world.office_share, world.carrier_share
    weights[HOME] = 1 - weights.sum()
    return weights


def _ads_clicked(world: World, rng: np.random.Generator, ads: Ads, people: People, person: Ints) -> Ints:
    """The first ad of a person, and further ones that are shown to the likes of him."""
    is_iphone = first_is_iphone(people)[person]
    ad = people.first_ad[person].copy()
    further = np.arange(len(person)) >= world.people
    another = further & (rng.random(len(person)) >= world.same_ad_share)
    for iphone, audience in ((True, ads.ios), (False, 1 - ads.ios)):
        chosen = another & (is_iphone == iphone)
        ad[chosen] = choose(rng, ads.size * audience, int(chosen.sum()))
    return ad


def _caused(world: World, rng: np.random.Generator, ads: Ads, people: People, clicks: Clicks) -> Conversions:
    """The first `world.ad_caused` of the clicks drawn whose conversion falls into the window."""
    drawn = min(round(SPARE_CAUSES * world.ad_caused), len(clicks.day))
    rate = ads.rate[clicks.ad]
    cause = rng.choice(len(clicks.day), drawn, replace=False, p=rate / rate.sum())
    delay = ads.delay_median_h[clicks.ad[cause]] / 24 * rng.lognormal(0, world.delay_sigma, drawn)
    seen = np.flatnonzero((delay < world.delay_max_days) & (clicks.day[cause] + delay < world.days))[: world.ad_caused]
    cause, delay, count = cause[seen], delay[seen], len(seen)
    person, ad = clicks.person[cause], clicks.ad[cause]
    habit = 1 + world.switchers_log_in * (1 - 2 * people.login[person])
    crosses = rng.random(count) < ads.cross_device[ad] * habit
    other = people.first_device[person] + people.second_device[person] - clicks.device[cause]
    is_ios = people.devices.is_ios[clicks.device[cause]]
    kept = np.where(is_ios, world.click_id_kept_ios, world.click_id_kept_other)
    kept *= 0.5 ** (delay / world.click_id_half_life_days)
    return Conversions(
        day=clicks.day[cause] + delay,
        person=person,
        device=np.where(crosses, other, clicks.device[cause]),
        place=_elsewhere(rng, clicks.place[cause], rng.random(count) < world.other_network_share),
        site=ads.site[ad],
        cause=cause,
        keeps_click_id=~crosses & (rng.random(count) < kept),
        only_fbclid=rng.random(count) < ONLY_FBCLID,
        has_email=rng.random(count) < world.email_share,
    )


def _elsewhere(rng: np.random.Generator, place: Ints, moved: Mask) -> Ints:
    """Where people are who were at `place`, of whom some have moved to another network."""
    weights = np.tile(np.array(AWAY), (len(place), 1))
    weights[np.arange(len(place)), place] = 0
    cumulated = np.cumsum(weights, axis=1)
    to = (rng.random(len(place))[:, None] * cumulated[:, -1:] >= cumulated).sum(axis=1)
    return np.where(moved, to, place)


def _organic(world: World, rng: np.random.Generator, ads: Ads, people: People) -> Conversions:
    """One conversion of each person who never clicks, at any time."""
    count = world.organic
    person = world.people + np.arange(count)
    second = rng.random(count) < world.organic_second_device_share
    site = choose(rng, np.bincount(ads.site, ads.size * ads.rate, world.sites), count)
    place = choose(rng, _usual_places(world), count)
    return Conversions(
        day=_by_daylight(world, rng, count),
        person=person,
        device=np.where(second, people.second_device[person], people.first_device[person]),
        place=_elsewhere(rng, place, rng.random(count) < world.other_network_share * AWAY[ELSEWHERE]),
        site=site,
        cause=np.full(count, -1),
        keeps_click_id=np.zeros(count, np.bool_),
        only_fbclid=np.zeros(count, np.bool_),
        has_email=rng.random(count) < world.email_share,
    )
