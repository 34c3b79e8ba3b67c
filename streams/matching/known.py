"""What the topic of models says: what the next model of a tenant goes on from, and how models were calibrated."""

from typing import NamedTuple

import pyarrow as pa

from processors.matching.model import Calibration, MatchModel
from processors.matching.statistics import Statistics
from schemas.client.registry import Registry
from streams.matching.columns import Columns
from streams.matching.models import MODELS
from streams.settings import Settings

__all__ = ["Known", "known_models"]


class Known(NamedTuple):
    """The last model of a tenant: its version, when it was learned (ms), and its sums.

    sums: None where the model was withdrawn, or where this build does not read them: the next one begins anew.
    calibrations: of person and ad, by version, of every model that is still there.
    """

    version: str
    learned_ms: int
    sums: Statistics | None
    calibrations: dict[str, tuple[Calibration, Calibration]]


def known_models(settings: Settings, schemas: Registry) -> dict[str, Known]:
    """What is known of each tenant. Raises Unavailable, RegistryUnavailable."""
    found: dict[str, Known] = {}
    for part in Columns(settings, schemas, MODELS).everything():
        times = part.batch.column("learned_time").cast(pa.int64()).to_pylist()
        texts = (part.batch.column(name).to_pylist() for name in ("account_id", "version", "model", "sums"))
        for learned_ms, account_id, version, model, sums in zip(times, *texts, strict=True):
            calibrations = found[account_id].calibrations if account_id in found else {}
            if (calibration := _calibrations(model)) is not None:
                calibrations[version] = calibration
            found[account_id] = Known(version, learned_ms, _sums(sums), calibrations)
    return found


def _sums(text: str | None) -> Statistics | None:
    try:
        return None if text is None else Statistics.from_json(text)
    except ValueError:
        return None


def _calibrations(text: str | None) -> tuple[Calibration, Calibration] | None:
    try:
        model = None if text is None else MatchModel.from_json(text)
    except ValueError:
        return None
    return None if model is None else (model.calibrate_person, model.calibrate_ad)
