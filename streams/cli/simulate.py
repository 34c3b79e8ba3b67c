"""`spendloop simulate attribution`: a market whose truth is known, and what attribution makes of it."""

from pathlib import Path

import click
import pyarrow.parquet as pq

from processors.simulation.parameters import WORLDS, World, WorldError, parse_world
from processors.simulation.tables import Tables, tables_of
from processors.simulation.world import simulate as simulate_market

__all__ = ["simulate"]


@click.group()
def simulate() -> None:
    """Markets whose truth is known, to measure in."""


@simulate.command("attribution")
@click.option("--world", "name", type=click.Choice(list(WORLDS)), default="default", show_default=True)
@click.option(
    "--parameters",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML with a market of your own: `world` to begin with and parameters that differ.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another number, another market.")
@click.option(
    "--write",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write clicks, conversions and their truth to this directory as Parquet, to be published or looked at.",
)
def attribution(name: str, parameters: Path | None, seed: int, write: Path | None) -> None:
    """Simulate a market and measure attribution methods in it.

    What is written with --write goes through the real pipeline with `spendloop publish`; `start` of the parameters
    is the day the market begins, which should lie in the last weeks then.
    """
    world = _world(name, parameters)
    tables = tables_of(simulate_market(world, seed), seed)
    if write is not None:
        _write(tables, write)


def _world(name: str, parameters: Path | None) -> World:
    if parameters is None:
        return WORLDS[name]
    try:
        return parse_world(parameters.read_text(encoding="utf-8"))
    except (WorldError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{parameters}: {error}") from error


def _write(tables: Tables, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables._asdict().items():
        pq.write_table(table, directory / f"{name}.parquet")
    click.echo(f"{tables.clicks.num_rows} clicks and {tables.conversions.num_rows} conversions in {directory}")
