"""From observed conversions to the sums that totals are estimated from."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from processors.totals.observations import CLASSES
from processors.totals.replicates import replicate_weights
from processors.totals.state import ACCOUNT_SUMS, AD_SUMS, DAY_SUMS, MICRO, SURE, Account, Ad, Day, State

__all__ = ["click_contributions", "contributions"]

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

#: Conversions whose replicates are worked out at a time: what bounds the memory, which is that of a table of
#: conversions by ads. Sums of so many shares are exact as floating-point numbers.
CHUNK = 1_000


def contributions(observations: pa.Table) -> State:
    """What the conversions of one account, of schema OBSERVATIONS, add to its state.

    The conversion_ids have to be distinct; newer versions of a conversion replace it by `minus` and `plus`.
    """
    state = State()
    for start in range(0, observations.num_rows, CHUNK):
        state = state.plus(_of_chunk(observations.slice(start, CHUNK).combine_chunks()))
    return state


def click_contributions(ad_ids: pa.Array, logged_in: Mask) -> State:
    """What clicks of one account add to its state: their ads, and whether each carries an identifier of the person.

    A click counts as often as it is given; a few that are given twice change no share by much.
    """
    ads = pc.fill_null(ad_ids, "").dictionary_encode()
    of = ads.indices.to_numpy()
    counts = np.stack([np.bincount(of, chosen, len(ads.dictionary)) for chosen in (None, logged_in)], axis=1)
    return State(clicks=dict(zip(ads.dictionary.to_pylist(), counts.astype(np.int64), strict=True)))


class _Shares(NamedTuple):
    """Shares of conversions in clicks, end to end: row of the conversion, ad as a number, day, millionths, class."""

    row: Ints
    ad: Ints
    day: Ints
    share: Ints
    device: Ints


class _Chunk(NamedTuple):
    """Conversions as columns. `ads` are the names of the ads' numbers; `click` of a click id has a share of one."""

    ads: list[str]
    click: _Shares
    person: _Shares
    is_reached: Mask
    evidence: _Shares
    by_click: Mask
    by_person: Mask
    asked: Mask
    unreached: Ints
    knock_out: Ints
    knocked_out: Mask
    placebo: Ints
    has_placebo: Mask
    value: Ints

    @property
    def is_open(self) -> Mask:
        """Conversions that no identifier matches."""
        return ~self.by_click & ~self.by_person


def _of_chunk(observations: pa.Table) -> State:
    chunk = _read(observations)
    weights = replicate_weights(observations["conversion_id"].to_pylist())
    rows, ads, columns, amounts = (np.concatenate(part) for part in zip(*_ad_entries(chunk), strict=True))
    by_ad = _weighed(ads * AD_SUMS + columns, rows, amounts, weights)
    by_day = _grouped(*_day_entries(chunk))
    return State(
        ads={chunk.ads[ad]: sums for ad, sums in _tables(*by_ad, AD_SUMS).items()},
        days={(chunk.ads[key >> 32], key & 0xFFFFFFFF): sums[:, 0] for key, sums in _tables(*by_day, DAY_SUMS).items()},
        account=_account_columns(chunk).T @ weights,
    )


def _read(observations: pa.Table) -> _Chunk:
    click, person, evidence = (observations[name].combine_chunks() for name in ("click", "person", "evidence"))
    by_click = pc.is_valid(click).to_numpy(zero_copy_only=False)
    clicks, persons, evidences = click.filter(pc.is_valid(click)), person.flatten(), evidence.flatten()
    names = pa.concat_arrays([part.field("ad_id") for part in (clicks, persons, evidences)]).dictionary_encode()
    ads = names.indices.to_numpy().astype(np.int64)
    ends = np.cumsum([len(clicks), len(persons)])
    per_row = np.arange(len(by_click))
    by_person = pc.fill_null(pc.list_value_length(person), 0).to_numpy() > 0
    return _Chunk(
        ads=names.dictionary.to_pylist(),
        click=_Shares(per_row[by_click], ads[: ends[0]], _day(clicks), np.full(len(clicks), MICRO), _zeros(clicks)),
        person=_whole(_shares(person, persons, ads[ends[0] : ends[1]])),
        is_reached=persons.field("reached").to_numpy(zero_copy_only=False),
        evidence=_shares(evidence, evidences, ads[ends[1] :]),
        by_click=by_click,
        by_person=by_person,
        asked=pc.is_valid(evidence).to_numpy(zero_copy_only=False),
        unreached=_millionths(observations["unreached"].combine_chunks()),
        knock_out=_millionths(observations["knock_out"].combine_chunks()),
        knocked_out=pc.is_valid(observations["knock_out"]).to_numpy(),
        placebo=_millionths(observations["placebo"].combine_chunks()),
        has_placebo=pc.is_valid(observations["placebo"]).to_numpy(),
        value=pc.fill_null(observations["value_micros"], 0).to_numpy(),
    )


def _shares(lists: pa.ListArray, members: pa.StructArray, ads: Ints) -> _Shares:
    lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy()
    return _Shares(
        row=np.repeat(np.arange(len(lists)), lengths),
        ad=ads,
        day=_day(members),
        share=_millionths(members.field("share")),
        device=members.field("device").to_numpy().astype(np.int64),
    )


def _whole(shares: _Shares) -> _Shares:
    """The shares, of which the first of each conversion takes what they are short of one."""
    rows, first, of = np.unique(shares.row, return_index=True, return_inverse=True)
    exact = shares.share.copy()
    exact[first] += MICRO - np.bincount(of, shares.share, len(rows)).astype(np.int64)
    return shares._replace(share=exact)


def _day(clicks: pa.StructArray) -> Ints:
    days: Ints = clicks.field("day").to_numpy().astype(np.int64)
    return days


def _zeros(clicks: pa.StructArray) -> Ints:
    return np.zeros(len(clicks), np.int64)


def _millionths(shares: pa.Array) -> Ints:
    millionths: Ints = np.rint(pc.fill_null(shares, 0.0).to_numpy() * MICRO).astype(np.int64)
    return millionths


def _ad_entries(chunk: _Chunk) -> list[tuple[Ints, Ints, Ints, Ints]]:
    """Rows of conversions, ads, columns of Ad and amounts of everything that is summed by ad."""
    click, person, evidence = chunk.click, chunk.person, chunk.evidence
    true_ad = np.full(len(chunk.by_click), -1)
    true_ad[click.row] = click.ad
    blind = chunk.by_click[person.row]
    right = blind & (person.ad == true_ad[person.row])
    found = chunk.by_person[click.row]
    open_ = chunk.is_open[evidence.row]
    entries = [
        _entry(click, Ad.CLICK, np.ones(len(click.row), np.bool_)),
        _entry(click, Ad.BLIND, found),
        _entry(person, Ad.BLIND_RIGHT, right),
        _entry(person, Ad.BLIND_WRONG, blind & ~right),
        _entry(person, Ad.PERSON, ~blind),
        _entry(evidence._replace(share=evidence.share * evidence.share // MICRO), Ad.SQUARED, open_),
    ]
    return entries + [
        _entry(evidence, Ad.EVIDENCE + device, open_ & (evidence.device == device)) for device in range(len(CLASSES))
    ]


def _entry(shares: _Shares, column: int, chosen: Mask) -> tuple[Ints, Ints, Ints, Ints]:
    rows = shares.row[chosen]
    return rows, shares.ad[chosen], np.full(len(rows), column), shares.share[chosen]


def _day_entries(chunk: _Chunk) -> tuple[Ints, Ints]:
    """Keys of ad, day and column, and the amounts."""
    click, person, evidence = chunk.click, chunk.person, chunk.evidence
    alone, open_ = ~chunk.by_click[person.row], chunk.is_open[evidence.row]
    parts = [
        (click, Day.DETERMINISTIC, Day.DETERMINISTIC_VALUE),
        (_chosen(person, alone), Day.DETERMINISTIC, Day.DETERMINISTIC_VALUE),
        (_chosen(evidence, open_), Day.EVIDENCE, Day.EVIDENCE_VALUE),
    ]
    keys, amounts = [], []
    for shares, column, value_column in parts:
        key = ((shares.ad << 32) + shares.day) * DAY_SUMS
        keys.append(key + column)
        amounts.append(shares.share)
        keys.append(key + value_column)
        amounts.append(np.rint(chunk.value[shares.row] * (shares.share / MICRO)).astype(np.int64))
    return np.concatenate(keys), np.concatenate(amounts)


def _chosen(shares: _Shares, chosen: Mask) -> _Shares:
    return _Shares(*(column[chosen] for column in shares))


def _account_columns(chunk: _Chunk) -> Ints:
    """Shape (conversions, ACCOUNT_SUMS)."""
    rows = len(chunk.by_click)
    mass = np.bincount(chunk.evidence.row, chunk.evidence.share, rows).astype(np.int64)
    withheld = chunk.by_person & ~chunk.by_click & chunk.asked
    columns = np.zeros((rows, ACCOUNT_SUMS), np.int64)
    columns[:, Account.ALL] = MICRO
    columns[:, Account.VALUE] = chunk.value
    columns[:, Account.OPEN_UNREACHED] = np.where(chunk.is_open, chunk.unreached, 0)
    columns[:, Account.KNOCKED_OUT] = MICRO * chunk.knocked_out
    columns[:, Account.KNOCKED_OUT_SURE] = MICRO * (chunk.knocked_out & (chunk.knock_out >= SURE))
    for first, chosen in ((Account.OPEN, chunk.is_open), (Account.WITHHELD, withheld)):
        matured = chosen & chunk.asked & chunk.has_placebo
        columns[:, first : first + 6] = np.stack(
            [
                MICRO * chosen,
                mass * chosen,
                MICRO * (chosen & (mass >= SURE)),
                MICRO * matured,
                MICRO * (matured & (mass >= SURE)),
                MICRO * (matured & (chunk.placebo >= SURE)),
            ],
            axis=1,
        )
    of_withheld = withheld[chunk.person.row]
    person, reached = _chosen(chunk.person, of_withheld), chunk.is_reached[of_withheld]
    right = np.rint(person.share * (_same_ad(person, chunk.evidence) / MICRO)).astype(np.int64)
    columns[:, Account.WITHHELD_RIGHT] = np.bincount(person.row, right, rows).astype(np.int64)
    np.add.at(columns, (person.row, Account.ASKED + person.device), person.share)
    np.add.at(columns, (person.row, Account.REACHED + person.device), np.where(reached, person.share, 0))
    return columns


def _same_ad(shares: _Shares, evidence: _Shares) -> Ints:
    """For each share what the evidence gives to the same ad of the same conversion."""
    keys, of = np.unique((evidence.row << 32) + evidence.ad, return_inverse=True)
    given = np.append(np.bincount(of, evidence.share, len(keys)).astype(np.int64), 0)
    wanted = (shares.row << 32) + shares.ad
    place = np.searchsorted(keys, wanted)
    found = np.append(keys, -1)[place] == wanted
    return given[np.where(found, place, len(keys))]


def _weighed(keys: Ints, rows: Ints, amounts: Ints, weights: Ints) -> tuple[Ints, Ints]:
    """Each distinct key with the sum of its amounts, which count as often as their rows' weights say."""
    distinct, of = np.unique(keys, return_inverse=True)
    table = np.bincount(of * len(weights) + rows, amounts, len(distinct) * len(weights))
    sums = table.reshape(len(distinct), len(weights)) @ weights.astype(np.float64)
    return distinct, np.rint(sums).astype(np.int64)


def _grouped(keys: Ints, amounts: Ints) -> tuple[Ints, Ints]:
    """Each distinct key with the sum of its amounts, whatever their size; shape (keys, 1)."""
    order = np.argsort(keys, kind="stable")
    distinct, first = np.unique(keys[order], return_index=True)
    sums = np.add.reduceat(amounts[order], first) if len(order) else amounts
    return distinct, sums[:, None]


def _tables(keys: Ints, sums: Ints, columns: int) -> dict[int, Ints]:
    """Sums by key // columns, shape (columns, replicates); what is all zero is left out."""
    groups, of = np.unique(keys // columns, return_inverse=True)
    tables = np.zeros((len(groups), columns, sums.shape[1]), np.int64)
    tables[of, keys % columns] = sums
    present = tables.any(axis=(1, 2))
    return dict(zip(groups[present].tolist(), tables[present], strict=True))
