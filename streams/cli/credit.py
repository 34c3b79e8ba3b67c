"""`spendloop credit`: what channels are credited with, of a file of paths."""

from decimal import Decimal
from pathlib import Path

import click
import pyarrow as pa

from processors.credit.channels import ChannelCredit
from processors.credit.markov import MAX_ORDER
from processors.credit.models import MODELS, credit_channels
from streams.cli.output import print_result
from streams.cli.parameters import PathModel, format_option
from streams.path_counts import read_path_counts

__all__ = ["credit"]

DIRECT = "direct"


@click.command()
@click.option("--paths", "file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--model", required=True, type=PathModel(), metavar="|".join(MODELS))
@click.option("--order", type=click.IntRange(1, MAX_ORDER), help="Touchpoints markov goes by.  [default: 1]")
@click.option("--direct", multiple=True, help=f"Channels last_non_direct passes over.  [default: {DIRECT}]")
@format_option
def credit(file: Path, model: str, order: int | None, direct: tuple[str, ...], form: str) -> None:
    """Divide the conversions of the paths in FILE over their channels, and their value to the micro.

    FILE is CSV with the columns path (channels joined by " > "), total_conversions, total_conversion_value and
    total_null. Needs no server and no settings. time_decay is not there: it goes by times, which paths do not have.
    json is one object a line, arrow an IPC stream.
    """
    if order is not None and model != "markov":
        raise click.UsageError(f"--order is of the chain of markov; {model} has none")
    if direct and model != "last_non_direct":
        raise click.UsageError(f"--direct is for last_non_direct; to {model} no channel is direct")
    found = credit_channels(read_path_counts(file), model, order or 1, direct or (DIRECT,))
    print_result(_shown(found) if form == "table" else _exact(found), form)


def _exact(found: ChannelCredit) -> pa.Table:
    """Whole micros, conversions as they are; the most credited first."""
    table = pa.table({name: pa.array(column) for name, column in found._asdict().items()})
    names = ("channel", "conversions", "value_micros")
    return table.rename_columns(names).sort_by([("conversions", "descending"), ("channel", "ascending")])


def _shown(found: ChannelCredit) -> pa.Table:
    """The same to be read by people."""
    exact = _exact(found)
    _, conversions, micros = (column.to_pylist() for column in exact.columns)
    return pa.table(
        {
            "channel": exact.column("channel"),
            "conversions": [f"{count:,.4f}" for count in conversions],
            "value": [f"{Decimal(value).scaleb(-6):,}" for value in micros],
        }
    )
