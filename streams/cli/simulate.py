"""`spendloop simulate`: markets whose truth is known, and what attribution, totals and budgets make of them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from processors.matching.learning import TooFewMatches
from processors.simulation.comparison import compare
from processors.simulation.evaluation import Exam, Score, exam_of
from processors.simulation.parameters import VARIATIONS, WORLDS, World, WorldError, parse_world, vary
from processors.simulation.summary import Summary, summary_of
from processors.simulation.tables import Tables, tables_of
from processors.simulation.totals import Measured, measure
from processors.simulation.world import simulate as simulate_market
from streams.cli.output import RESULT_FORMATS, print_result, print_table
from streams.cli.simulate_policy import policy

__all__ = ["simulate"]

DEFAULT_RESULT = Path("build/attribution.json")


@click.group()
def simulate() -> None:
    """Markets whose truth is known, to measure in."""


simulate.add_command(policy)


@simulate.command("attribution")
@click.option("--world", "name", type=click.Choice(list(WORLDS)), default="default", show_default=True)
@click.option(
    "--parameters",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML with a market of your own: `world` to begin with and parameters that differ.",
)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Another number, another market.")
@click.option("--variations", is_flag=True, help="Also the market with one thing changed at a time.")
@click.option("--oracle/--no-oracle", default=True, help="Compare with what could be learned from the truth.")
@click.option(
    "--json",
    "result",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_RESULT,
    show_default=True,
    help="Where the scores are written.",
)
@click.option(
    "--write",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write clicks, conversions and their truth to this directory as Parquet instead of measuring.",
)
def attribution(
    name: str, parameters: Path | None, seed: int, variations: bool, oracle: bool, result: Path, write: Path | None
) -> None:
    """Simulate a market and measure attribution methods in it.

    What is written with --write goes through the real pipeline with `spendloop publish`; `start` of the parameters
    is the day the market begins, which should lie in the last weeks then.
    """
    world = _world(name, parameters)
    if write is not None:
        _write(_tables(world, seed), write)
        return
    worlds = {name if parameters is None else parameters.stem: world}
    if variations:
        worlds |= {varied: vary(world, changes) for varied, changes in VARIATIONS.items()}
    measured = []
    for title, one in worlds.items():
        scores = _measure(one, seed, oracle)
        _print(title, scores)
        measured.append({"world": title, "seed": seed, "parameters": _plain(one), "scores": list(map(asdict, scores))})
    result.parent.mkdir(parents=True, exist_ok=True)
    result.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    click.echo(f"written to {result}")


@simulate.command("totals")
@click.option("--worlds", "count", type=click.IntRange(1), default=12, show_default=True, help="How many markets.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Number of the first of them.")
@click.option("--world", "name", type=click.Choice(list(WORLDS)), default="audiences", show_default=True)
@click.option(
    "--parameters",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="TOML with a market of your own, as for `simulate attribution`.",
)
@click.option("--format", "form", type=click.Choice(RESULT_FORMATS), default="table", show_default=True)
def totals(count: int, seed: int, name: str, parameters: Path | None, form: str) -> None:
    """Simulate markets and measure totals per ad in them.

    Each is also simulated with identifiers that depend on each other, where the alarm should be raised. Errors are
    shares of the truth, without their sign unless they are called bias; those of ads and the coverage of their 95 %
    intervals are of ads with at least 100 true conversions.
    """
    world = _world(name, parameters)
    dependent = vary(world, {"switchers_log_in": 1.0})
    rows: list[Summary] = []
    for title, one in (("as given", world), ("dependent identifiers", dependent)):
        rows += summary_of(title, [_measure_totals(one, seed + number) for number in range(count)])
    print_result(pa.Table.from_pylist([asdict(row) for row in rows]), form)


def _measure_totals(world: World, seed: int) -> Measured:
    try:
        return measure(_tables(world, seed))
    except TooFewMatches as error:
        raise click.ClickException(str(error)) from error


def _world(name: str, parameters: Path | None) -> World:
    if parameters is None:
        return WORLDS[name]
    try:
        return parse_world(parameters.read_text(encoding="utf-8"))
    except (WorldError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{parameters}: {error}") from error


def _tables(world: World, seed: int) -> Tables:
    return tables_of(simulate_market(world, seed), seed)


def _write(tables: Tables, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for name, table in tables._asdict().items():
        pq.write_table(table, directory / f"{name}.parquet")
    click.echo(f"{tables.clicks.num_rows} clicks and {tables.conversions.num_rows} conversions in {directory}")


def _measure(world: World, seed: int, with_oracle: bool) -> list[Score]:
    exam = exam_of(_tables(world, seed))
    oracle = _oracle(exam_of(_tables(world, seed + 1)), seed) if with_oracle else None
    try:
        return compare(exam, np.random.default_rng([seed, 1]), oracle)[1]
    except TooFewMatches as error:
        raise click.ClickException(str(error)) from error


def _oracle(exam: Exam, seed: int) -> Any:
    """Taught by the truth of another market of the same world."""
    from processors.simulation.oracle import Oracle, OracleMissing

    try:
        return Oracle(exam, seed)
    except OracleMissing as error:
        raise click.ClickException(f"{error}: --no-oracle") from error


def _print(title: str, scores: Iterable[Score]) -> None:
    table = Table("conversions", "level", "method", "at", title=title)
    for name in ("attributed", "right", "precision", "organics falsely", "ECE"):
        table.add_column(name, justify="right")
    for one in scores:
        figures = (one.attributed, one.right, one.precision, one.organics, one.calibration_error)
        names = (one.conversions, one.level, one.method, f"{one.threshold:.1f}")
        table.add_row(*names, *(f"{figure:.3f}" for figure in figures))
    print_table(table)


def _plain(world: World) -> Mapping[str, Any]:
    return {name: str(value) if name == "start" else value for name, value in asdict(world).items()}
