"""`python -m tests.crash.victim ROLE ORDERS JOURNAL [CHUNK_RECORDS]`: a real role, which dies when ordered to."""

import sys
from pathlib import Path

from tests.crash import roles
from tests.crash.journal import Journal
from tests.crash.points import Doom, wrap


def main(name: str, orders: str, journal: str, *options: str) -> None:
    noted = Journal(Path(journal))
    role = roles.ROLES[name]
    role.observe(noted)
    wrap(role.points, Doom(Path(orders), noted.note))
    role.work(*options)


if __name__ == "__main__":
    main(*sys.argv[1:])
