"""The sums that a model is estimated from, and how: rates are counts, drawn to what is usual where they are few."""

import json
from typing import Any, NamedTuple, Self

import numpy as np

from processors.matching.evidence import Hashes
from processors.matching.model import BANDS_H, DELAYS_H, GAPS_H, SHARES, Floats, MatchModel
from processors.matching.patterns import DEVICES, NETWORKS, PATTERNS

__all__ = ["Statistics", "delay_density", "estimate", "nothing"]

#: Pseudo-observations by which a cell is drawn to what its network and its device say apart.
CELL_PRIOR, NETWORK_PRIOR, DEVICE_PRIOR, BACKGROUND_PRIOR, SHARE_PRIOR = 10.0, 20.0, 4.0, 3.0, 10.0
FORMAT = 1
#: Digits that are kept of sums: they were estimated from far fewer.
DIGITS = 9
#: Spread of the kernel over bins of delay: a factor of 1.5 in time.
KERNEL_BINS = 1.5


class Statistics(NamedTuple):
    """Sums that a model is estimated from; those of different periods may be added.

    matched: pairs of cause and effect by band and pattern; unreached: those that are not among candidates, by band;
    delays: the same by delay. background: placebos by pattern and gap; exposure_h: the hours they were seen in, by gap;
    commonness: sum over placebos, by pattern. conversions, organic: without identifier, and of these without an ad.
    shares, rights: by kind of match (probabilistic, identifier) and bin of the ad's share of the person's probability.
    """

    matched: Floats
    unreached: Floats
    delays: Floats
    background: Floats
    exposure_h: Floats
    commonness: Floats
    conversions: Floats
    organic: Floats
    shares: Floats
    rights: Floats

    def plus(self, other: "Statistics", fading: float = 1.0) -> "Statistics":
        """Both together, these faded by a factor."""
        return Statistics(*(fading * mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def times(self, factor: float) -> "Statistics":
        """As if everything had been seen so many times."""
        return Statistics(*(factor * mine for mine in self))

    @property
    def identified(self) -> float:
        """Conversions of which an identifier names the person and none the click."""
        return float(self.delays.sum())

    def to_json(self) -> str:
        """The sums as text, from which `from_json` makes those to nine digits."""
        sums = {name: _rounded(column.tolist()) for name, column in self._asdict().items()}
        return json.dumps({"format": FORMAT, **sums})

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The sums that were written. Raises ValueError where they are of another format."""
        content = json.loads(text)
        usual = nothing()._asdict()
        if content.pop("format", None) != FORMAT or content.keys() != usual.keys():
            raise ValueError(f"not sums of format {FORMAT}")
        sums = {name: np.array(content[name], np.float64) for name in usual}
        if wrong := [name for name, column in usual.items() if sums[name].shape != column.shape]:
            raise ValueError(f"sums of another shape: {', '.join(wrong)}")
        return cls(**sums)


def nothing() -> Statistics:
    """Sums of no period at all."""
    bands, gaps = len(BANDS_H) - 1, len(GAPS_H) - 1
    return Statistics(
        matched=np.zeros((bands, PATTERNS)),
        unreached=np.zeros(bands),
        delays=np.zeros(len(DELAYS_H) - 1),
        background=np.zeros((PATTERNS, gaps)),
        exposure_h=np.zeros(gaps),
        commonness=np.zeros(PATTERNS),
        conversions=np.zeros(()),
        organic=np.zeros(()),
        shares=np.zeros((2, len(SHARES) - 1)),
        rights=np.zeros((2, len(SHARES) - 1)),
    )


def estimate(sums: Statistics, languages: Hashes) -> MatchModel:
    """The model that the sums speak for."""
    matched = _matched(sums.matched, sums.unreached)
    weight = _normal(sums.matched.sum(axis=1) + sums.unreached)
    shares = _ad_given_person(sums)
    return MatchModel(
        matched=matched,
        delay=delay_density(sums.delays),
        background=_background_rates(sums.background, sums.exposure_h),
        commonness=(sums.commonness + 1) / (sums.background.sum(axis=1) + 1),
        organic=float(np.clip(sums.organic / max(float(sums.conversions), 1.0), 0.01, 0.99)),
        unreached=float(np.clip(1 - weight @ matched.sum(axis=1), 0.01, 0.99)),
        ad_given_person=shares[0],
        ad_given_identifier=shares[1],
        languages=languages,
        fitted_on=round(float(sums.conversions)),
    )


def _matched(matched: Floats, unreached: Floats) -> Floats:
    """P(pattern | cause) by band. Rare cells are drawn to the band's networks times the devices of each network."""
    total = matched.sum(axis=1) + unreached
    pooled = matched.sum(axis=0).reshape(len(NETWORKS), len(DEVICES))
    device = pooled + DEVICE_PRIOR * _normal(pooled.sum(axis=0)) + 0.01
    device /= device.sum(axis=1, keepdims=True)
    networks = matched.reshape(-1, len(NETWORKS), len(DEVICES)).sum(axis=2)
    overall = networks.sum(axis=0) / max(total.sum(), 1.0)
    networks = (networks + NETWORK_PRIOR * overall) / (total + NETWORK_PRIOR)[:, None]
    apart = (networks[:, :, None] * device).reshape(matched.shape)
    together: Floats = (matched + CELL_PRIOR * apart) / (total + CELL_PRIOR)[:, None]
    return together


def _background_rates(background: Floats, exposure_h: Floats) -> Floats:
    """Clicks an hour by pattern and gap. Rare cells are drawn to rate of pattern times profile of network."""
    exposure = np.maximum(exposure_h, 1.0)
    networks = background.reshape(len(NETWORKS), len(DEVICES), -1).sum(axis=1)
    profile = ((networks + 1) / exposure) / ((networks + 1).sum(axis=1, keepdims=True) / exposure.sum())
    usual = (background.sum(axis=1) + 0.5) / exposure.sum()
    expected = usual[:, None] * np.repeat(profile, len(DEVICES), axis=0)
    rates: Floats = (background + BACKGROUND_PRIOR) / (exposure + BACKGROUND_PRIOR / expected)
    return rates


def delay_density(delays: Floats) -> Floats:
    """The density an hour, smoothed over neighbouring bins."""
    bins = np.arange(len(delays))
    kernel = np.exp(-0.5 * ((bins[:, None] - bins) / KERNEL_BINS) ** 2)
    smooth = (kernel / kernel.sum(axis=0)) @ (delays + 1e-3)
    density: Floats = smooth / smooth.sum() / np.diff(DELAYS_H)
    return density


def _ad_given_person(sums: Statistics) -> Floats:
    """By kind and bin of share how often the ad was right, drawn to the share itself; shape (2, bins)."""
    middle = (SHARES[:-1] + SHARES[1:]) / 2
    rates: Floats = (sums.rights + SHARE_PRIOR * middle) / (sums.shares + SHARE_PRIOR)
    return rates


def _normal(values: Floats) -> Floats:
    return values / max(float(values.sum()), 1e-300)


def _rounded(values: Any) -> Any:
    """
    >>> _rounded([[1 / 3], 2e10])
    [[0.333333333], 20000000000.0]
    """
    return [_rounded(value) for value in values] if isinstance(values, list) else float(f"{values:.{DIGITS}g}")
