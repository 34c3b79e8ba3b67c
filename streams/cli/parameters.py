"""What is typed after options: moments, rates, roles, models, formats."""

import re
from datetime import UTC, datetime
from typing import Any

import click

from processors.credit.models import MODELS
from streams.cli.output import RESULT_FORMATS
from streams.roles import ROLES

__all__ = ["Moment", "PathModel", "Rate", "RoleName", "format_option"]

#: In which form a command prints its result.
format_option = click.option("--format", "form", type=click.Choice(RESULT_FORMATS), default="table", show_default=True)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(click.ParamType):
    """A moment in ISO 8601 with its zone, as milliseconds since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Click's hook."""
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a time in ISO 8601, such as 2026-03-01T14:00:00Z", param, ctx)
        if moment.tzinfo is None:
            given = moment.isoformat()
            self.fail(f"{value!r} has no zone: write {given}Z, or {given}+02:00", param, ctx)
        if moment < EPOCH:
            self.fail(f"{value!r} is before 1970", param, ctx)
        return int(moment.timestamp() * 1000)


class Rate(click.ParamType):
    """Records a second: 500 or 500/s."""

    name = "n/s"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Click's hook."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)(?:/s)?", str(value))
        if match is None or float(match[1]) == 0:
            self.fail(f"{value!r} is not a number of records a second, such as 500/s", param, ctx)
        return float(match[1])


class RoleName(click.ParamType):
    """The name of a role that reads topics."""

    name = "role"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Click's hook."""
        names = [role.name for role in ROLES.values() if role.reads]
        if value not in names:
            self.fail(f"{value!r} is none of {', '.join(names)}", param, ctx)
        return str(value)


class PathModel(click.ParamType):
    """The name of a model that paths without times can be credited by."""

    name = "model"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Click's hook."""
        if value == "time_decay":
            self.fail("time_decay goes by the times of touchpoints, which paths do not have", param, ctx)
        if value not in MODELS:
            self.fail(f"{value!r} is none of {', '.join(MODELS)}", param, ctx)
        return str(value)
