"""Which errors a user can do something about, and what the exit code says of them."""

from deploy.local.errors import StackError
from processors.credit.errors import UnusableCounts
from schemas.errors import ContractError
from sinks.clickhouse.migrations import MigrationError
from sinks.errors import Refused, Unavailable
from sinks.redis.fences import StateBehind, StateLost
from streams.accept import RoleRunning
from streams.admin import RecordsGone, TopicError, TopicRecreated
from streams.demo.errors import DemoFailed
from streams.files import UnreadableFile
from streams.identity import IdentifierError
from streams.liveness import MemberFenced
from streams.settings import SettingsError

__all__ = ["FAILED", "WRONG_USAGE", "explain"]

FAILED, WRONG_USAGE = 1, 2
FORESEEN = (
    StackError,
    ContractError,
    MigrationError,
    MemberFenced,
    Refused,
    Unavailable,
    TopicError,
    DemoFailed,
    TopicRecreated,
    RecordsGone,
    RoleRunning,
    StateBehind,
    StateLost,
    UnreadableFile,
    UnusableCounts,
)


def explain(error: Exception) -> tuple[str, int] | None:
    """The message and exit code for an error that was foreseen, None for a defect."""
    if isinstance(error, SettingsError | IdentifierError):
        return str(error), WRONG_USAGE
    if isinstance(error, FORESEEN):
        return str(error), FAILED
    return None
