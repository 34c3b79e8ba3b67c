"""`spendloop simulate policy`: what policies make of a budget where the truth is known, or in accounts like yours."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.csv
from rich.table import Table

from processors.decisions.settings import PolicySettings
from processors.simulation.decisions.calibrate import AdsError, world_like
from processors.simulation.decisions.chart import chart_of
from processors.simulation.decisions.policies import POLICIES, ours
from processors.simulation.decisions.score import Account, Score, play, score_of
from processors.simulation.decisions.worlds import CONDITIONS, DELAYS, DRIFTS, WORLDS, DecisionWorld
from streams.cli.output import print_table

__all__ = ["policy"]

DEFAULT_RESULT = Path("build/policy.json")
COLUMNS = ("impressions", "clicks", "spend", "conversions")


@click.command("policy")
@click.option("--world", "name", type=click.Choice(list(WORLDS)), default="A", show_default=True)
@click.option("--drift", type=click.Choice(DRIFTS), default="abrupt", show_default=True)
@click.option("--condition", type=click.Choice(list(CONDITIONS)), default="clean", show_default=True)
@click.option("--delay", type=click.Choice(DELAYS), default="lognormal", show_default=True)
@click.option(
    "--policy",
    "names",
    type=click.Choice(list(POLICIES)),
    multiple=True,
    help="One or several; all where none is named.",
)
@click.option("--seeds", type=click.IntRange(2), default=20, show_default=True, help="How many accounts.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Number of the first of them.")
@click.option(
    "--ads",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help=f"CSV with a row an ad and the columns {', '.join(COLUMNS)}: accounts with returns like theirs.",
)
@click.option("--daily-budget", type=click.FloatRange(0, min_open=True), help="Of the account, in the ads' currency.")
@click.option(
    "--step-cap",
    type=click.FloatRange(0, 1, min_open=True),
    help="Also ours with no budget changed by more than this share of itself a day, to see what that costs.",
)
@click.option(
    "--json",
    "result",
    type=click.Path(dir_okay=False, path_type=Path),
    default=DEFAULT_RESULT,
    show_default=True,
    help="Where the scores are written.",
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Write the scores as SVG, too.")
def policy(
    name: str,
    drift: str,
    condition: str,
    delay: str,
    names: Sequence[str],
    seeds: int,
    seed: int,
    ads: Path | None,
    daily_budget: float | None,
    step_cap: float | None,
    result: Path,
    plot: Path | None,
) -> None:
    """Simulate accounts of ten ads for sixty days and compare policies in them.

    Each policy meets the same accounts. Shares are of what one earns who knows the truth of every day, with their
    standard errors. Impressions and clicks of --ads are not used: what an ad costs a conversion is what counts.
    """
    world = replace(WORLDS[name], drift=drift, delay=delay, **CONDITIONS[condition])
    if ads is not None:
        world = _like(world, ads, seed)
    if daily_budget is not None:
        world = replace(world, daily_budget=daily_budget)
    scores = dict(_scores(world, names or list(POLICIES), range(seed, seed + seeds), step_cap))
    _print(f"{ads or name}, {drift}, {condition}", scores)
    plain = {one: value for one, value in asdict(world).items() if one != "returns"}
    found = {"world": plain, "first_seed": seed, "policies": {one: asdict(score) for one, score in scores.items()}}
    _write(result, json.dumps(found, indent=1) + "\n")
    if plot is not None:
        _write(plot, chart_of({one: (score.share, score.error) for one, score in scores.items()}))


def _like(world: DecisionWorld, ads: Path, seed: int) -> DecisionWorld:
    try:
        table = pyarrow.csv.read_csv(ads)
    except pa.ArrowInvalid as error:
        raise click.UsageError(f"{ads}: {error}") from error
    if missing := [one for one in COLUMNS if one not in table.column_names]:
        raise click.UsageError(f"{ads}: no column {', '.join(missing)}; there are {', '.join(table.column_names)}")
    try:
        columns = [table[one].cast(pa.float64()).fill_null(0).to_numpy() for one in ("spend", "conversions")]
        return world_like(world, columns[0], columns[1], np.random.default_rng([seed, 0]))
    except (AdsError, pa.ArrowInvalid) as error:
        raise click.UsageError(f"{ads}: {error}") from error


def _scores(
    world: DecisionWorld, names: Sequence[str], seeds: range, step_cap: float | None
) -> Iterator[tuple[str, Score]]:
    for name in names:
        yield (name, score_of(list(play(world, POLICIES[name], seeds))))
    if step_cap is not None:
        settings = PolicySettings(reset_loss=world.reset_loss, step_cap=step_cap)
        accounts: list[Account] = list(play(world, lambda one, rng: ours(one, rng, settings), seeds))
        yield (f"ours, steps of at most {step_cap:.0%}", score_of(accounts))


def _print(title: str, scores: Mapping[str, Score]) -> None:
    table = Table("policy", title=title)
    for column in ("share", "± error", "worst tenth", "regret", "on losers", "resets", "days to recover"):
        table.add_column(column, justify="right")
    for name, score in scores.items():
        recovery = "" if score.recovery_d is None else f"{score.recovery_d:.0f}"
        shares = (f"{figure:.3f}" for figure in (score.share, score.error, score.worst_decile))
        table.add_row(name, *shares, f"{score.regret:,.0f}", f"{score.wasted:.1%}", f"{score.resets:.1f}", recovery)
    print_table(table)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    click.echo(f"written to {path}")
