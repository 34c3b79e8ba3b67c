"""Rows in ClickHouse, each one there is, and dead letters against what was sent."""

from collections import Counter

import numpy as np
import pyarrow.compute as pc

from schemas.codec import Decoder
from schemas.topics import topics
from sinks.clickhouse.migrations import apply
from sinks.clickhouse.tables import table_name
from streams.admin import registry
from streams.clickhouse import connect, migrations
from streams.loader.loader import ROLE
from streams.replay.letters import Letters
from streams.settings import Settings
from tests.crash.load import FORBIDDEN, Journeys
from tests.crash.outcome import Found

__all__ = ["compare", "forbid", "prepare"]

IDS = {"clicks": "click_id", "conversions": "conversion_id"}


def prepare(settings: Settings) -> None:
    """Make the tables, and have nothing merged in them: a merge would hide a doubled row."""
    with connect(settings) as clickhouse:
        apply(clickhouse, migrations())
        for contract in IDS:
            clickhouse.command(f"SYSTEM STOP MERGES {settings.clickhouse.database}.{table_name(contract)}")


def forbid(settings: Settings) -> None:
    """Make the tables so that clicks of one channel are refused, though their contract allows them."""
    prepare(settings)
    with connect(settings) as clickhouse:
        clickhouse.command(
            f"ALTER TABLE {settings.clickhouse.database}.{table_name('clicks')} "
            f"ADD CONSTRAINT no_{FORBIDDEN} CHECK channel != '{FORBIDDEN}'"
        )


def compare(settings: Settings, journeys: Journeys) -> Found:
    """Each record has one row, looked at without FINAL; a click that the table refuses has one dead letter instead."""
    found = Found()
    forbidden = pc.equal(journeys.clicks.column("channel"), FORBIDDEN)
    _compare_dead_letters(settings, journeys.clicks.filter(forbidden).column(IDS["clicks"]).to_pylist(), found)
    with connect(settings) as clickhouse:
        for contract, field in IDS.items():
            table = getattr(journeys, contract)
            loaded = table.filter(pc.invert(forbidden)) if contract == "clicks" else table
            sent = loaded.column(field).to_pylist()
            rows = Counter(clickhouse.query(f"SELECT {field} FROM {table_name(contract)}").column(field).to_pylist())
            found.sent += len(sent)
            found.found += sum(rows[record] == 1 for record in sent)
            found.hold_against(Counter(sent), rows, f"row of {field}")
    return found


def _compare_dead_letters(settings: Settings, sent: list[str], found: Found) -> None:
    """Letters by id, of which only the newest counts, with the originals' bytes."""
    found.to_dead_letter = len(sent)
    clicks = Decoder(topics(settings.namespace)["clicks"], registry(settings))
    with Letters(settings, ROLE) as letters:
        index = letters.index()
        originals = [letter.fields["value"] for letter in letters.fetch(index)]
    found.dead_lettered = index.num_rows
    decoded = clicks.decode(originals, np.zeros(len(originals), np.int64))
    ids = Counter(decoded.batch.column(IDS["clicks"]).to_pylist())
    found.sent += len(sent)
    found.found += sum(ids[record] == 1 for record in sent)
    found.hold_against(Counter(sent), ids, "dead letter of")
