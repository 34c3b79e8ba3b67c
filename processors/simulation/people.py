"""Who lives in a simulated market: clickers first, then those who only buy, with their homes and devices."""

from typing import NamedTuple

import numpy as np

from processors.simulation.chance import Floats, Ints, Mask, choose, evenly
from processors.simulation.devices import IPHONE, Devices, make_devices
from processors.simulation.networks import LANGUAGE_WEIGHTS, Networks, make_networks
from processors.simulation.parameters import World

__all__ = ["Ads", "People", "first_is_iphone", "make_ads", "make_people"]

#: People whose browser speaks the language of their household.
HOUSEHOLD_LANGUAGE = 0.9


class Ads(NamedTuple):
    """Columns with a row an ad: how often it is clicked, how often that leads to a conversion, and its audience."""

    size: Floats
    rate: Floats
    ios: Floats
    logged_in: Floats
    cross_device: Floats
    delay_median_h: Floats
    site: Ints


class People(NamedTuple):
    """Columns with a row a person: clickers, then the organic buyers. Devices are numbers into `devices`."""

    household: Ints
    first_device: Ints
    second_device: Ints
    language: Ints
    first_ad: Ints
    login: Floats
    devices: Devices
    networks: Networks


def make_ads(world: World, rng: np.random.Generator) -> Ads:
    """Ads as unlike as the world says; what differs between them is independent of each other."""
    return Ads(
        size=rng.lognormal(0, world.ad_size_sigma, world.ads),
        rate=rng.lognormal(0, world.ad_rate_sigma, world.ads),
        ios=evenly(rng, world.ios_share, world.ads),
        logged_in=evenly(rng, world.logged_in_share, world.ads),
        cross_device=evenly(rng, world.cross_device_share, world.ads),
        delay_median_h=evenly(rng, world.delay_median_h, world.ads),
        site=rng.permutation(np.arange(world.ads) % world.sites),
    )


def make_people(world: World, rng: np.random.Generator, ads: Ads) -> People:
    """`world.people` clickers and `world.organic` buyers who never click.

    Of the buyers a share lives with a clicker; each of the others has a household of its own.
    """
    clickers = np.concatenate(
        [np.arange(world.households), rng.integers(0, world.households, world.people - world.households)]
    )
    with_clickers = rng.random(world.organic) < world.organic_in_clicker_households
    buyers = np.where(
        with_clickers,
        rng.integers(0, world.households, world.organic),
        world.households + np.arange(world.organic),
    )
    household = np.concatenate([clickers, buyers])
    households, people = world.households + world.organic, len(household)
    first_ad = choose(rng, ads.size, people)
    first_is_ios = rng.random(people) < ads.ios[first_ad]
    devices = make_devices(world, rng, first_is_ios, people + households)
    own_second = people + np.arange(people)
    is_shared = rng.random(people) < world.shared_device_share
    return People(
        household=household,
        first_device=np.arange(people),
        second_device=np.where(is_shared, 2 * people + household, own_second),
        language=_languages(rng, household, households),
        first_ad=first_ad,
        login=rng.random(people),
        devices=devices,
        networks=make_networks(world, rng, household, households),
    )


def first_is_iphone(people: People) -> Mask:
    """Whether each person's first device is an iPhone."""
    return np.equal(people.devices.system[people.first_device], IPHONE)


def _languages(rng: np.random.Generator, household: Ints, households: int) -> Ints:
    common = choose(rng, LANGUAGE_WEIGHTS, households)[household]
    own = choose(rng, LANGUAGE_WEIGHTS, len(household))
    return np.where(rng.random(len(household)) < HOUSEHOLD_LANGUAGE, common, own)
