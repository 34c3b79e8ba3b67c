"""The command as it is typed, in this process."""

from pathlib import Path

from click.testing import CliRunner, Result

from streams.cli.main import cli


def spendloop(*arguments: str, typed: str | None = None) -> Result:
    """Run it; `typed` answers what it asks, and without it there is nobody to ask."""
    return CliRunner().invoke(cli, arguments, input=typed, prog_name="spendloop")


def done(*arguments: str) -> str:
    """What it prints, where it succeeds."""
    result = spendloop(*arguments)
    assert result.exit_code == 0, (result.output, result.exception)
    return result.stdout


def written(folder: Path, name: str, *lines: str) -> str:
    """A file of these lines, as a command is given it."""
    file = folder / name
    file.write_text("\n".join(lines) + "\n")
    return str(file)
