"""Roles that go on with a topic their commits say nothing of, by the loader and the command as it is typed."""

import re
from collections.abc import Mapping

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import CollectorRegistry

from schemas.topics import topics
from streams.admin import RecordsGone, TopicRecreated, topic_ids
from streams.clickhouse import connect
from streams.loader.blocks import CommitNote
from streams.loader.loader import Loader
from streams.metrics import RoleMetrics
from streams.offsets import Commit, Offsets
from streams.roles import ROLES, Generation, Role
from streams.settings import Settings
from tests.streams.loader.test_loader import load_until_caught_up, loaded, publish, recreate
from tests.streams.replay.commands import done, spendloop


def clicks(settings: Settings) -> str:
    return topics(settings.namespace)["clicks"].name


def topic_id(settings: Settings) -> str:
    return topic_ids(settings.kafka.client(), [clicks(settings)])[clicks(settings)]


def commit(settings: Settings, role: str, positions: Mapping[int, int], note: str) -> None:
    consumer = Consumer({**settings.kafka.client(), "group.id": settings.group(role)})
    partitions = [TopicPartition(clicks(settings), *position, note) for position in positions.items()]
    consumer.commit(offsets=partitions, asynchronous=False)
    consumer.close()


def commits(settings: Settings, role: str) -> dict[int, Commit]:
    with Offsets(settings) as offsets:
        return offsets.commits(role, "clicks")


def said(output: str) -> dict[tuple[str, int], str]:
    """What the command says of each partition of each role."""
    cells = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.splitlines() if "│" in line]
    return {(role, int(partition)): sentence for role, partition, sentence in cells}


def remove(settings: Settings, partition: int, before: int) -> None:
    """As retention does."""
    gone = TopicPartition(clicks(settings), partition, before)
    admin = AdminClient(settings.kafka.client())
    admin.delete_records([gone])[gone].result(30)


def test_the_loader_goes_on_with_a_topic_created_anew(deployment: Settings) -> None:
    publish(deployment, 0, 50)
    load_until_caught_up(deployment)
    before = topic_id(deployment)
    recreate(deployment, clicks(deployment))
    # What a loader leaves behind that ran while the topic was created anew.
    commit(deployment, "loader", {0: 5, 1: 6}, CommitNote(before, 8).text())
    publish(deployment, 100, 80)
    with pytest.raises(TopicRecreated, match="run `spendloop topics accept`"):
        Loader(deployment, RoleMetrics(CollectorRegistry())).run(lambda: False)
    output = done("topics", "accept", "clicks", "--role", "loader", "--yes")
    lost = f"was at 5 of the topic before ({before}): what that had from there on is lost; begins at 0"
    assert said(output)["loader", 0] == lost
    assert "start `spendloop load` again" in output
    assert commits(deployment, "loader") == dict.fromkeys(range(4), Commit(0, topic_id(deployment)))
    load_until_caught_up(deployment)
    assert loaded(deployment) == sorted(f"c{number}" for number in [*range(50), *range(100, 180)])
    # The loader's commits are of the topic now: there is nothing to accept any more.
    assert "there is nothing to accept" in done("topics", "accept", "clicks", "--role", "loader")


def test_the_loader_goes_on_where_kafka_lost_the_end_of_the_log(deployment: Settings) -> None:
    """What load_progress says of the offsets that are given out again is forgotten, or they would be passed over."""
    publish(deployment, 0, 50)
    load_until_caught_up(deployment)
    beyond = 10_000
    commit(deployment, "loader", dict.fromkeys(range(4), beyond), CommitNote(topic_id(deployment)).text())
    with connect(deployment) as clickhouse:
        clickhouse.command(
            "INSERT INTO load_progress SELECT topic, topic_id, partition, 10000, newest_ingest_time, loaded_at "
            "FROM load_progress WHERE topic = 'clicks'"
        )
    with pytest.raises(RecordsGone, match=r"the log ends at \d+, before 10000.*`spendloop topics accept`"):
        Loader(deployment, RoleMetrics(CollectorRegistry())).run(lambda: False)
    publish(deployment, 50, 50)
    done("topics", "accept", "clicks", "--role", "loader", "--yes")
    load_until_caught_up(deployment)
    assert set(loaded(deployment)) == {f"c{number}" for number in range(100)}


def test_what_retention_removed_is_said_and_the_others_stay(deployment: Settings) -> None:
    publish(deployment, 0, 100)
    load_until_caught_up(deployment)
    publish(deployment, 100, 100)
    at, ends = commits(deployment, "loader"), Offsets(deployment).ends("clicks")
    start = at[2].offset + 3
    remove(deployment, 2, start)
    sentences = said(done("topics", "accept", "clicks", "--role", "loader", "--yes"))
    assert sentences == {
        ("loader", 0): f"goes on at {at[0].offset}",
        ("loader", 1): f"goes on at {at[1].offset}",
        ("loader", 2): f"was at {at[2].offset}: 3 offsets, to {start - 1}, were removed by retention and are lost; "
        f"begins at {start}",
        ("loader", 3): f"goes on at {at[3].offset}",
    }
    assert commits(deployment, "loader") == at | {2: Commit(start, topic_id(deployment))}
    load_until_caught_up(deployment)
    assert len(loaded(deployment)) == 100 + sum(ends.values()) - 100 - 3


def test_every_role_that_reads_the_topic(deployment: Settings) -> None:
    publish(deployment, 0, 40)
    ends = Offsets(deployment).ends("clicks")
    commit(deployment, "attribution", {0: ends[0], 1: ends[1] + 1000}, "")
    output = done("topics", "accept", "clicks", "--yes")
    sentences = said(output)
    assert sentences["attribution", 0] == f"was at {ends[0]}, perhaps of a topic before; begins at 0"
    assert sentences["attribution", 1].startswith(f"was at {ends[1] + 1000}, which is beyond the end")
    assert sentences["attribution", 2] == "nothing was committed; begins at 0"
    assert {role for role, _ in sentences} == {"attribution", "loader"}
    assert "start `spendloop worker attribution`, `spendloop load` again" in output
    for role in ("attribution", "loader"):
        assert commits(deployment, role) == dict.fromkeys(range(4), Commit(0, topic_id(deployment)))


def test_a_topic_without_records_has_nothing_to_accept(deployment: Settings) -> None:
    assert "there is nothing to accept" in done("topics", "accept", "loader.retry")


def test_a_role_that_runs_is_not_moved_under_its_feet(deployment: Settings) -> None:
    publish(deployment, 0, 20)
    member = Consumer({**deployment.kafka.client(), "group.id": deployment.group("loader")})
    member.subscribe([clicks(deployment)])
    while not member.assignment():
        member.poll(0.2)
    refused = spendloop("topics", "accept", "clicks", "--yes")
    assert refused.exit_code == 1
    assert "loader runs (1 processes in the group" in refused.stderr
    assert "stop every `spendloop load` first" in refused.stderr
    assert all(found.offset is None for found in commits(deployment, "loader").values())
    assert "attribution" in done("topics", "accept", "clicks", "--role", "attribution", "--yes")
    member.close()
    done("topics", "accept", "clicks", "--yes")


def test_asked_before_anything_is_set(deployment: Settings) -> None:
    publish(deployment, 0, 20)
    assert spendloop("topics", "accept", "clicks", "--role", "loader", typed="n\n").exit_code == 1
    assert all(found.offset is None for found in commits(deployment, "loader").values())
    assert spendloop("topics", "accept", "clicks", "--role", "loader", typed="y\n").exit_code == 0
    assert any(found.offset == 0 for found in commits(deployment, "loader").values())


def test_what_a_role_keeps_elsewhere_is_told_first(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And told again where it could not be: the commits alone would say that all is done."""
    publish(deployment, 0, 40)
    told: list[Generation] = []

    def tell(settings: Settings, generation: Generation) -> None:
        assert all(found.offset is None for found in commits(settings, "fenced").values())
        told.append(generation)
        if len(told) == 1:
            raise ConnectionError

    monkeypatch.setitem(ROLES, "fenced", Role("fenced", "worker fenced", ("clicks",), repeats=True, accept=tell))
    assert isinstance(spendloop("topics", "accept", "clicks", "--role", "fenced", "--yes").exception, ConnectionError)
    done("topics", "accept", "clicks", "--role", "fenced", "--yes")
    expected = Generation(clicks(deployment), topic_id(deployment), dict.fromkeys(range(4), 0))
    assert told == [expected, expected]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["klicks"], "'klicks' is not one of"),
        (["loader.dlt"], "is not one of"),
        (["ad-performance", "--role", "attribution"], "attribution does not read ad-performance; it reads clicks"),
    ],
)
def test_nonsense_is_explained(settings: Settings, arguments: list[str], said: str) -> None:
    result = spendloop("topics", "accept", *arguments)
    assert result.exit_code == 2
    assert said in re.sub(r"\s+", " ", result.stderr)


def test_a_topic_that_is_not_there(settings: Settings) -> None:
    result = spendloop("topics", "accept", "clicks")
    assert result.exit_code == 1
    assert "run `spendloop topics apply`" in result.stderr
