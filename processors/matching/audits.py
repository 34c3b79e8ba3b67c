"""What audits say of matches: how often identifiers were right, and the confidences that can be calibrated by them.

An audit names the ad that led to a conversion, or none. Of the person it speaks where it names a click or a browser
of the buyer's; else the person was right where the ad was, and wrong where there was none. A wrong ad leaves it open.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.matching.calibration import Judged
from processors.matching.deterministic import CLICK_IDS
from processors.matching.match import FINGERPRINT, LAYERS
from processors.matching.model import Calibration

__all__ = ["Attributed", "Audit", "Verdict", "judge"]

#: Layers in which no identifier says anything.
UNIDENTIFIED = frozenset(LAYERS[FINGERPRINT:])


@dataclass(frozen=True, slots=True)
class Audit:
    """The ad that led to a conversion, None where none did; a click id or visitor id of the buyer's, if known."""

    ad_id: str | None
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Attributed:
    """What was said of a conversion: how it was recognised, how surely, by which model, and who was credited.

    person, ad: confidences as they were stated, None where nobody was credited. known_as: click ids and visitor ids
    of the person.
    """

    layer: str
    model_version: str
    person: float | None
    ad: float | None
    ad_id: str | None
    known_as: frozenset[str]


class Verdict(NamedTuple):
    """person, ad: of conversions without identifier, by what the models said before any calibration.

    named, named_right: audited conversions whose click an identifier names, and of these the right ads; identified,
    identified_right: those of which an identifier names the person only, who may have clicked several ads.
    missing: audits of conversions of which nothing was said; unknown_model: of matches by a model nobody has any more.
    """

    person: Judged
    ad: Judged
    named: int
    named_right: int
    identified: int
    identified_right: int
    missing: int
    unknown_model: int

    @property
    def version(self) -> str:
        """Names what a calibration is learned from; empty where that is nothing."""
        if not len(self.ad.right) and not len(self.person.right):
            return ""
        content = b"".join(
            np.asarray(column, np.float64).tobytes() for judged in (self.person, self.ad) for column in judged
        )
        return f"audits-{hashlib.sha256(content).hexdigest()[:12]}"


def judge(
    audits: Mapping[str, Audit],
    attributed: Mapping[str, Attributed],
    calibrations: Mapping[str, tuple[Calibration, Calibration]],
) -> Verdict:
    """Hold matches against audits, both by conversion. `calibrations`: of person and ad, by version of the model."""
    person: list[tuple[float, bool]] = []
    ad: list[tuple[float, bool]] = []
    named = named_right = identified = identified_right = missing = unknown = 0
    for conversion_id, audit in sorted(audits.items()):
        match = attributed.get(conversion_id)
        if match is None:
            missing += 1
        elif match.layer in CLICK_IDS:
            named += 1
            named_right += match.ad_id is not None and match.ad_id == audit.ad_id
        elif match.layer not in UNIDENTIFIED:
            identified += 1
            identified_right += match.ad_id is not None and match.ad_id == audit.ad_id
        elif match.person is not None and match.ad is not None:
            if match.model_version not in calibrations:
                unknown += 1
                continue
            of_person, of_ad = calibrations[match.model_version]
            right = _is_person(audit, match)
            if right is not None:
                person.append((_taken_back(of_person, match.person), right))
            ad.append((_taken_back(of_ad, match.ad), right is not False and match.ad_id == audit.ad_id))
    return Verdict(_judged(person), _judged(ad), named, named_right, identified, identified_right, missing, unknown)


def _is_person(audit: Audit, match: Attributed) -> bool | None:
    """Whether the person was right, None where the audit does not say."""
    if audit.ad_id is None:
        return False
    if audit.person is not None:
        return audit.person in match.known_as
    return True if match.ad_id == audit.ad_id else None


def _taken_back(calibration: Calibration, confidence: float) -> float:
    return float(calibration.inverse()(np.array([confidence]))[0])


def _judged(pairs: list[tuple[float, bool]]) -> Judged:
    columns = np.array(pairs, np.float64).reshape(-1, 2)
    return Judged(columns[:, 0], columns[:, 1])
