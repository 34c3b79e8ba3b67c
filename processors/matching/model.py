"""What matching has learned of a tenant: a small object that is re-estimated now and then, and named in results."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from processors.matching.patterns import PATTERNS

__all__ = ["BANDS_H", "DELAYS_H", "GAPS_H", "SHARES", "Calibration", "MatchModel", "bin_of"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FORMAT = 1
WINDOW_H = 720.0
#: Edges of the bins of the time from a click to the conversion it caused, hours: evenly spaced by its logarithm.
DELAYS_H: Floats = np.concatenate([[0.0], np.geomspace(1 / 30, WINDOW_H, 37)])
#: Edges of the bins of the time between a conversion and clicks that did not cause it, hours.
GAPS_H: Floats = np.array([0.0, 1, 4, 12, 24, 72, 168, 336, WINDOW_H])
#: Edges of the bands in which what a click and its conversion have in common may differ, hours: addresses change.
BANDS_H: Floats = np.array([0.0, 24, 120, WINDOW_H])
#: Edges of the bins of an ad's share of its person's probability.
SHARES: Floats = np.array([0.0, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995, 1.0])


def bin_of(values: npt.ArrayLike, edges: Floats) -> Ints:
    """In which bin between the edges each value lies; the outermost take what is beyond.

    >>> bin_of([0, 0.9, 1, 10_000], np.array([0.0, 1, 5])).tolist()
    [0, 0, 1, 1]
    """
    return np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(edges) - 2).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Platt's: of a confidence with logit x what remains is the logistic of `slope` x + `offset`.

    Source: Platt, Probabilistic outputs for support vector machines, 1999.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, confidence: Floats) -> Floats:
        """The calibrated confidence, of the same shape; 0 stays 0 and 1 stays 1.

        >>> Calibration(offset=-1.0)(np.array([0.0, 0.5, 1.0])).round(3).tolist()
        [0.0, 0.269, 1.0]
        """
        inside = (confidence > 0) & (confidence < 1)
        logits = np.log(np.where(inside, confidence, 0.5)) - np.log1p(-np.where(inside, confidence, 0.5))
        return np.where(inside, 1 / (1 + np.exp(-self.slope * logits - self.offset)), confidence)

    def inverse(self) -> "Calibration":
        """What takes calibrated confidences back. Raises ValueError where they all fell together.

        >>> calibration = Calibration(slope=0.8, offset=-1.0)
        >>> calibration.inverse()(calibration(np.array([0.3, 0.9]))).round(9).tolist()
        [0.3, 0.9]
        """
        if self.slope <= 0:
            raise ValueError(f"a calibration of slope {self.slope} cannot be taken back")
        return Calibration(1 / self.slope, -self.offset / self.slope)


@dataclass(frozen=True)
class MatchModel:
    """Everything that scoring needs besides the records.

    matched: P(pattern | a click caused the conversion and is that long ago, in bands), shape (bands, PATTERNS). What
        is missing to one is that the click is not among the candidates.
    delay: density of the time from click to conversion, per hour, by DELAYS_H.
    background: clicks an hour of a pattern that a conversion has for no reason, by GAPS_H; shape (PATTERNS, gaps).
    commonness: how common a pattern's fingerprints are among placebos, on average; shape (PATTERNS,).
    organic: share of conversions without identifier that no ad caused.
    unreached: share of those an ad caused whose click is not among the candidates.
    ad_given_person: P(the ad is right | the person is), by the ad's share of the person's probability in SHARES: of
        probabilistic matches; ad_given_identifier: where an identifier names the person.
    languages: hashes of the languages that are common.
    calibrate_person, calibrate_ad: learned from audits.
    fitted_on: conversions the model was learned from.
    """

    matched: Floats
    delay: Floats
    background: Floats
    commonness: Floats
    organic: float
    unreached: float
    ad_given_person: Floats
    ad_given_identifier: Floats
    languages: npt.NDArray[np.uint64]
    fitted_on: int = 0
    calibrate_person: Calibration = field(default_factory=Calibration)
    calibrate_ad: Calibration = field(default_factory=Calibration)

    def __post_init__(self) -> None:
        bands, gaps = len(BANDS_H) - 1, len(GAPS_H) - 1
        wanted = {
            "matched": (bands, PATTERNS),
            "delay": (len(DELAYS_H) - 1,),
            "background": (PATTERNS, gaps),
            "commonness": (PATTERNS,),
            "ad_given_person": (len(SHARES) - 1,),
            "ad_given_identifier": (len(SHARES) - 1,),
        }
        for name, shape in wanted.items():
            if getattr(self, name).shape != shape:
                raise ValueError(f"{name} has shape {getattr(self, name).shape} where the model has {shape}")

    @cached_property
    def version(self) -> str:
        """Names the content: models of one version give the same results."""
        return f"match-{FORMAT}-{hashlib.sha256(self.to_json().encode()).hexdigest()[:12]}"

    def calibrated(self, person: Calibration, ad: Calibration) -> "MatchModel":
        """The same model with what audits say of its confidences."""
        return replace(self, calibrate_person=person, calibrate_ad=ad)

    def to_json(self) -> str:
        """The model as text, from which `from_json` makes an equal one."""
        return json.dumps({"format": FORMAT, **asdict(self)}, default=lambda array: array.tolist())

    @classmethod
    def from_json(cls, text: str) -> "MatchModel":
        """The model that was written. Raises ValueError where it is of another format."""
        content: dict[str, Any] = json.loads(text)
        if content.pop("format", None) != FORMAT:
            raise ValueError(f"not a match model of format {FORMAT}: estimate it anew")
        kinds = {item.name: item.type for item in fields(cls)}
        for name, kind in kinds.items():
            if kind is Calibration:
                content[name] = Calibration(**content[name])
            elif isinstance(content[name], list):
                content[name] = np.array(content[name], np.uint64 if name == "languages" else np.float64)
        return cls(**content)
