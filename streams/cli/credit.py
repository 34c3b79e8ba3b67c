"""`spendloop credit`: what channels are credited with, of a file of paths or of an account."""

import time
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path

import click
import pyarrow as pa

from processors.credit.channels import ChannelCredit
from processors.credit.markov import MAX_ORDER
from processors.credit.models import MODELS, credit_channels
from processors.credit.paths import PathCounts
from streams.cli.output import moment, print_result
from streams.cli.parameters import Moment, PathModel, format_option
from streams.path_counts import read_path_counts

__all__ = ["credit"]

DIRECT = "direct"


@click.command()
@click.option("--paths", "file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="CSV of paths.")
@click.option("--account", help="Of this account's journeys, as they are known now.")
@click.option("--event", help="Conversions of the account that count.  [default: the only ones there are]")
@click.option("--currency", help="Value in this currency.  [default: the only one there is]")
@click.option("--as-of", "as_of_ms", type=Moment(), help="Nothing from then on counts.  [default: now]")
@click.option("--model", required=True, type=PathModel(), metavar="|".join(MODELS))
@click.option("--order", type=click.IntRange(1, MAX_ORDER), help="Touchpoints markov goes by.  [default: 1]")
@click.option("--direct", multiple=True, help=f"Channels last_non_direct passes over.  [default: {DIRECT}]")
@format_option
def credit(
    file: Path | None,
    account: str | None,
    event: str | None,
    currency: str | None,
    as_of_ms: int | None,
    model: str,
    order: int | None,
    direct: tuple[str, ...],
    form: str,
) -> None:
    """Divide conversions over the channels that led to them, and their value to the micro.

    Of the paths in a FILE: CSV with the columns path (channels joined by " > "), total_conversions,
    total_conversion_value and total_null; this needs no server and no settings. Or of the journeys of an ACCOUNT that
    ended in the last credit.period_d days, computed now from what is loaded. time_decay is not there: it goes by times,
    which paths do not have. json is one object a line, arrow an IPC stream.
    """
    if order is not None and model != "markov":
        raise click.UsageError(f"--order is of the chain of markov; {model} has none")
    if direct and model != "last_non_direct":
        raise click.UsageError(f"--direct is for last_non_direct; to {model} no channel is direct")
    if (file is None) == (account is None):
        raise click.UsageError("give either --paths or --account")
    if file is not None:
        if event is not None or currency is not None or as_of_ms is not None:
            raise click.UsageError("--event, --currency and --as-of go with --account; a file has none of them")
        counts = read_path_counts(file)
    else:
        counts = _of_account(str(account), event, currency, int(time.time() * 1000) if as_of_ms is None else as_of_ms)
    found = credit_channels(counts, model, order or 1, direct or (DIRECT,))
    print_result(_shown(found) if form == "table" else _exact(found), form)


def _of_account(account: str, event: str | None, currency: str | None, as_of_ms: int) -> PathCounts:
    """The counts of an account's paths, with their value in one currency."""
    from sinks.clickhouse.path_counts import converting_accounts
    from streams.clickhouse import connect
    from streams.credit.journeys import period_until, read_journeys
    from streams.settings import load_settings

    settings = load_settings()
    period = period_until(settings, as_of_ms)
    with connect(settings) as clickhouse:
        events = [name for own, name in converting_accounts(clickhouse, period) if own == account]
        if not events:
            times = f"between {moment(period.since_ms)} and {moment(period.until_ms)}"
            raise click.ClickException(f"{account} has no attributed conversion {times}")
        journeys = read_journeys(clickhouse, settings, account, _one("--event", event, events), period)
    if not journeys.in_currency and currency is None:
        return journeys.counts
    return journeys.in_currency[_one("--currency", currency, journeys.in_currency)]


def _one(option: str, given: str | None, there: Collection[str]) -> str:
    """What was given of what is there, or all there is. Raises UsageError."""
    if given is None and len(there) == 1:
        return next(iter(there))
    if given is None:
        raise click.UsageError(f"there are {', '.join(there)}: choose one by {option}")
    if given not in there:
        raise click.UsageError(f"{option}: {given!r} is none of {', '.join(there)}")
    return given


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
