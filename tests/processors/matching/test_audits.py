import numpy as np
import pytest

from processors.matching.audits import Attributed, Audit, judge
from processors.matching.model import Calibration

PLAIN = {"m1": (Calibration(), Calibration())}


def match(**changes: object) -> Attributed:
    usual = Attributed("probabilistic", "m1", 0.9, 0.7, "ad-1", frozenset({"k1", "v1"}))
    return Attributed(**{name: changes.get(name, getattr(usual, name)) for name in Attributed.__slots__})


@pytest.mark.parametrize(
    ("audit", "person", "ad"),
    [
        (Audit("ad-1"), 1, 1),
        (Audit("ad-2"), None, 0),
        (Audit(None), 0, 0),
        (Audit(None, "v1"), 0, 0),
        (Audit("ad-2", "v1"), 1, 0),
        (Audit("ad-1", "k1"), 1, 1),
        # Somebody else who saw the same ad.
        (Audit("ad-1", "v2"), 0, 0),
    ],
)
def test_what_an_audit_says_of_person_and_ad(audit: Audit, person: int | None, ad: int) -> None:
    verdict = judge({"c": audit}, {"c": match()}, PLAIN)
    assert verdict.person.right.tolist() == ([] if person is None else [person])
    assert verdict.ad.right.tolist() == [ad]
    assert verdict.ad.confidence.tolist() == pytest.approx([0.7])


def test_identifiers_are_counted_and_calibrate_nothing() -> None:
    attributed = {"a": match(layer="click_id"), "b": match(layer="email"), "c": match(layer="visitor_id", ad_id=None)}
    audits = {"a": Audit("ad-1"), "b": Audit("ad-2"), "c": Audit(None), "d": Audit("ad-1")}
    verdict = judge(audits, attributed, PLAIN)
    assert (verdict.named, verdict.named_right) == (1, 1)
    assert (verdict.identified, verdict.identified_right, verdict.missing) == (2, 0, 1)
    assert verdict.version == ""
    assert len(verdict.ad.right) == len(verdict.person.right) == 0


def test_whoever_was_credited_to_nobody_says_nothing() -> None:
    assert judge({"c": Audit("ad-1")}, {"c": match(layer="none", person=None, ad=None)}, PLAIN).version == ""


def test_confidences_are_those_before_calibration() -> None:
    """Whichever models they were stated by: calibrating again does not add up."""
    before = Calibration(0.8, -0.6), Calibration(1.2, 0.3)
    stated = [float(calibration(np.array([0.9]))[0]) for calibration in before]
    attributed = {"a": match(person=0.9, ad=0.9), "b": match(model_version="m2", person=stated[0], ad=stated[1])}
    audits = dict.fromkeys(attributed, Audit("ad-1"))
    verdict = judge(audits, attributed, {**PLAIN, "m2": before})
    assert verdict.person.confidence.tolist() == pytest.approx([0.9, 0.9])
    assert verdict.ad.confidence.tolist() == pytest.approx([0.9, 0.9])
    gone = judge(audits, attributed, PLAIN)
    assert gone.unknown_model == 1
    assert len(gone.ad.right) == 1


def test_the_version_names_what_was_found_out() -> None:
    attributed = {"a": match(), "b": match(ad=0.4)}
    one = judge({"a": Audit("ad-1"), "b": Audit(None)}, attributed, PLAIN).version
    assert one.startswith("audits-")
    assert one == judge({"b": Audit(None), "a": Audit("ad-1"), "c": Audit(None)}, attributed, PLAIN).version
    assert one != judge({"a": Audit("ad-1"), "b": Audit("ad-1")}, attributed, PLAIN).version
