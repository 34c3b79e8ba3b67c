"""The table of roles says what the roles themselves do."""

import pytest

from schemas.topics import DEAD_LETTER_ROLES, TOPICS
from sinks.clickhouse.tables import LOADED
from streams import attribution_inputs
from streams.cli.main import cli
from streams.roles import ROLES


def test_each_reads_what_it_says() -> None:
    assert ROLES["attribution"].reads == attribution_inputs.SOURCES
    assert ROLES["loader"].inputs == LOADED


@pytest.mark.parametrize("role", ROLES.values(), ids=ROLES)
def test_all_it_reads_is_in_the_contract_and_its_command_is_one(role) -> None:
    assert set(role.reads) <= TOPICS.keys()
    assert (role.name in DEAD_LETTER_ROLES) == bool(role.reads)
    command, *arguments = role.command.split()
    assert command in cli.commands
    assert arguments in ([], [role.name])
