"""What hold-out tests have found, as their topic has it."""

import logging
from collections import defaultdict
from collections.abc import Mapping
from datetime import date
from typing import Any

from processors.totals.holdout import Holdout, HoldoutTest
from schemas.client.registry import Registry
from streams.matching.columns import Columns
from streams.settings import Settings

__all__ = ["HOLDOUTS", "REQUIRED", "holdout_test", "holdout_tests"]

HOLDOUTS = "holdouts"
#: Fields that every record has.
REQUIRED = {"account_id", "scope", "test", "from_day", "to_day", "incremental_share", "low", "high"}
EPOCH = date(1970, 1, 1).toordinal()

log = logging.getLogger(__name__)


def holdout_tests(settings: Settings, schemas: Registry, until_ms: int) -> dict[str, list[HoldoutTest]]:
    """The tests of each tenant that Kafka took before a time, by tenant. Raises Unavailable, RegistryUnavailable."""
    found: dict[str, dict[tuple[str, str, str], HoldoutTest]] = defaultdict(dict)
    for part in Columns(settings, schemas, HOLDOUTS).between(0, until_ms):
        for row in part.batch.to_pylist():
            try:
                test = holdout_test(row)
            except ValueError as error:
                log.warning("%s of %s is left out: %s", HOLDOUTS, row["account_id"], error)
                continue
            found[row["account_id"]][test.scope, test.scope_id, test.found.name] = test
    return {account_id: list(tests.values()) for account_id, tests in found.items()}


def holdout_test(record: Mapping[str, Any]) -> HoldoutTest:
    """The test of a record of the contract. Raises ValueError where its fields do not go together."""
    return HoldoutTest(
        record["scope"],
        record.get("scope_id") or "",
        record["from_day"].toordinal() - EPOCH,
        record["to_day"].toordinal() - EPOCH,
        Holdout(record["test"], record["incremental_share"], record["low"], record["high"]),
    )
