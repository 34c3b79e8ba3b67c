import asyncio
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import msgpack
import pytest
import redis

from deploy.local import redis as local
from deploy.local.processes import free_ports
from deploy.local.stack import LocalStack
from deploy.local.state import read_state
from processors.attribution.facts import Retention
from schemas.facts import Fact, HeldConversion, HeldFact, identifier
from sinks.errors import Refused, Unavailable
from sinks.redis.attribution_store import FACTS_A_SCRIPT, AttributionStore
from tests.processors.records import CLICK, CONVERSION, Record, facts_of, message

SOON = int(time.time()) + 3_600
Held = list[HeldConversion]


@pytest.fixture(scope="module")
def url(stack: LocalStack) -> str:
    return read_state(stack.directory).addresses()["redis"]


@pytest.fixture
def namespace() -> str:
    return f"{uuid.uuid4().hex[:8]}."


@pytest.fixture
def server(url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(url) as client:
        yield client


def use(url: str, namespace: str, *steps: tuple[str, list[Fact]], shards: int = 1) -> list[Held]:
    """The answers of a store to these calls, one after the other."""

    async def run() -> list[Held]:
        store = AttributionStore(url, namespace=namespace, shards=shards)
        try:
            return [await getattr(store, f"add_{kind}")(facts) for kind, facts in steps]
        finally:
            await store.close()

    return asyncio.run(run())


def fact(
    fact_id: str,
    *asked_by: tuple[str, str],
    account: str = "acme",
    content: bytes = b"\x00content",
    digest: bytes = b"digest-1",
    expires_at_s: int = SOON,
) -> Fact:
    identifiers = [identifier(account, kind, value) for kind, value in asked_by]
    return Fact(account, fact_id, digest, content, identifiers, expires_at_s)


def keys_of(server: redis.Redis, namespace: str) -> list[bytes]:
    return sorted(key for key in server.scan_iter(count=1000) if namespace.encode() in key)


def snapshot(server: redis.Redis, namespace: str) -> dict[bytes, Any]:
    """All there is of a namespace, with expiries."""
    found = {}
    for key in keys_of(server, namespace):
        value = server.smembers(key) if server.type(key) == b"set" else server.hgetall(key)
        found[key] = (value, server.expiretime(key))
    return found


def ids(facts: list[HeldFact] | Any) -> list[str]:
    return sorted(item.id for item in facts)


V1, V2, K1 = ("v", "v1"), ("v", "v2"), ("k", "k1")


def test_whichever_is_stored_second_reads_the_other(url: str, namespace: str) -> None:
    click, conversion = fact("k1", V1, K1), fact("c1", V1, content=b"conversion")
    nothing, [held] = use(url, namespace, ("touchpoints", [click]), ("conversions", [conversion]))
    assert nothing == []
    assert held == HeldConversion(
        "acme",
        "c1",
        [HeldFact("c1", b"digest-1", b"conversion")],
        [HeldFact("k1", b"digest-1", b"\x00content")],
        2,
    )
    other = f"other-{namespace}"
    [alone], [together] = use(url, other, ("conversions", [conversion]), ("touchpoints", [click]))
    assert (alone.facts_held, alone.touchpoints) == (1, [])
    assert together == held


def test_all_identifiers_of_all_contents_are_asked(url: str, namespace: str) -> None:
    first, second = fact("c1", V1), fact("c1", V2, K1, digest=b"digest-2")
    clicks = [fact("k1", K1), fact("k2", V1), fact("k3", V2), fact("k4", ("v", "v4"))]
    *_, [held] = use(url, namespace, ("conversions", [first, second]), ("touchpoints", clicks))
    assert ids(held.touchpoints) == ["k1", "k2", "k3"]
    assert sorted(item.digest for item in held.contents) == [b"digest-1", b"digest-2"]
    assert held.facts_held == 5


def test_only_what_the_clicks_concern_is_returned(url: str, namespace: str) -> None:
    conversions = [fact("c1", V1), fact("c2", V2), fact("c3", V1, V2), fact("c4")]
    _, held = use(url, namespace, ("conversions", conversions), ("touchpoints", [fact("k1", V1)]))
    assert sorted(item.conversion_id for item in held) == ["c1", "c3"]


def test_storing_again_changes_nothing_and_answers_again(url: str, namespace: str, server: redis.Redis) -> None:
    steps = (
        ("touchpoints", [fact("k1", V1, K1), fact("k2", V1), fact("k2", V2, digest=b"digest-2")]),
        ("conversions", [fact("c1", V1), fact("c2", K1), fact("c1", V2, digest=b"digest-2")]),
    )
    use(url, namespace, *steps)
    before = snapshot(server, namespace)
    first, second = use(url, namespace, *steps), use(url, namespace, *steps)
    assert snapshot(server, namespace) == before
    assert len(before) == 8
    for once, again in zip(first, second, strict=True):
        assert sorted(once) == sorted(again)
        assert once != []


def test_what_is_held_is_never_overwritten(url: str, namespace: str) -> None:
    old, new = fact("k1", V1, content=b"old"), fact("k1", V1, content=b"new")
    *_, [held] = use(url, namespace, ("touchpoints", [old]), ("touchpoints", [new]), ("conversions", [fact("c1", V1)]))
    assert [item.content for item in held.touchpoints] == [b"old"]
    *_, [held] = use(url, namespace, ("conversions", [fact("c1", V1, content=b"other")]))
    assert [item.content for item in held.contents] == [b"\x00content"]


@pytest.mark.parametrize("kind", ["touchpoints", "conversions"])
def test_an_expiry_is_always_set_and_only_ever_extended(
    url: str, namespace: str, server: redis.Redis, kind: str
) -> None:
    for expires_at_s, expected in [(SOON, SOON), (SOON - 500, SOON), (SOON + 500, SOON + 500)]:
        new = fact("x", V1, digest=f"{expires_at_s:>8}"[-8:].encode(), expires_at_s=expires_at_s)
        use(url, namespace, (kind, [new]))
        expiries = {key: server.expiretime(key) for key in keys_of(server, namespace)}
        assert set(expiries.values()) == {expected}
        assert len(expiries) == (1 if kind == "touchpoints" else 2)


def test_a_batch_keeps_its_latest_expiry(url: str, namespace: str, server: redis.Redis) -> None:
    clicks = [fact(f"k{n}", V1, expires_at_s=SOON + offset) for n, offset in enumerate((0, 900, 300))]
    use(url, namespace, ("touchpoints", clicks))
    assert [server.expiretime(key) for key in keys_of(server, namespace)] == [SOON + 900]


def test_what_has_expired_is_not_there(url: str, namespace: str, server: redis.Redis) -> None:
    past = int(time.time()) - 10
    steps = (
        ("touchpoints", [fact("k1", V1, expires_at_s=past)]),
        ("conversions", [fact("c1", V1, expires_at_s=past)]),
        ("touchpoints", [fact("k2", V1)]),
    )
    *_, held = use(url, namespace, *steps)
    assert held == []
    assert len(keys_of(server, namespace)) == 1


def test_a_reference_to_an_expired_conversion_leads_nowhere(url: str, namespace: str, server: redis.Redis) -> None:
    use(url, namespace, ("conversions", [fact("c1", V1), fact("c2", V1)]))
    [expired] = [key for key in keys_of(server, namespace) if b"k:" in key and key.endswith(b"c1")]
    server.delete(expired)
    [[held]] = use(url, namespace, ("touchpoints", [fact("k1", V1)]))
    assert held.conversion_id == "c2"


@pytest.mark.parametrize("shards", [1, 3])
def test_every_key_of_a_tenant_is_in_its_shard(url: str, namespace: str, server: redis.Redis, shards: int) -> None:
    tenants = [f"tenant-{n}" for n in range(12)]
    clicks = [fact(f"of-{name}", V1, account=name) for name in tenants]
    conversions = [fact("c1", V1, account=name) for name in tenants]
    _, held = use(url, namespace, ("touchpoints", clicks), ("conversions", conversions), shards=shards)
    assert {item.account_id: ids(item.touchpoints) for item in held} == {name: [f"of-{name}"] for name in tenants}
    tags: dict[str, set[str]] = {}
    for key in keys_of(server, namespace):
        found = re.match(
            rf"sl:1:\{{(s\d)\}}:{re.escape(namespace)}[tck]:.*(tenant-\d+)", key.decode("utf-8", "replace")
        )
        assert found, key
        tags.setdefault(found[2], set()).add(found[1])
    assert tags.keys() == set(tenants)
    assert all(len(used) == 1 for used in tags.values())
    assert len(set.union(*tags.values())) == shards


ODD = [
    "a",
    ":",
    "a:v",
    "1:a",
    "a:v:a",
    "v",
    "k",
    "\x00",
    "a\x00",
    " ",
    "{s1}",
    "ü",
    "日本",
    "x" * 256,
    "é" * 128,
    "*",
    "\n",
]


def test_no_ids_collide(url: str, namespace: str) -> None:
    """Every combination of odd tenants, visitors and click ids is its own."""
    clicks, conversions, expected = [], [], {}
    for account in ODD:
        for value in ODD:
            for kind in ("v", "k"):
                name = f"{kind}{value}"
                clicks.append(fact(name, (kind, value), account=account, content=f"{account}|{name}".encode()))
                conversions.append(fact(name, (kind, value), account=account))
                expected[account, name] = [(name, f"{account}|{name}".encode())]
    _, held = use(url, namespace, ("conversions", conversions), ("touchpoints", clicks))
    found = {(h.account_id, h.conversion_id): [(t.id, t.content) for t in h.touchpoints] for h in held}
    assert found == expected


def test_namespaces_are_apart(url: str, namespace: str) -> None:
    use(url, namespace, ("conversions", [fact("c1", V1)]))
    assert use(url, f"{namespace}t", ("touchpoints", [fact("k1", V1)])) == [[]]
    assert use(url, "", ("touchpoints", [fact("k1", ("v", namespace))])) == [[]]


def test_a_batch_larger_than_a_script(url: str, namespace: str) -> None:
    """A conversion that several scripts concern is returned once, as the last of them has read it."""
    count = 2 * FACTS_A_SCRIPT + 1
    clicks = [fact(f"k{n}", V1) for n in range(count)]
    _, [held] = use(url, namespace, ("conversions", [fact("c1", V1)]), ("touchpoints", clicks))
    assert ids(held.touchpoints) == sorted(f"k{n}" for n in range(count))
    assert held.facts_held == count + 1


def test_more_identifiers_than_one_command_takes(url: str, namespace: str) -> None:
    clicks = [fact(f"k{n}", ("v", f"v{n}"), ("k", f"k{n}")) for n in range(FACTS_A_SCRIPT)]
    conversions = [fact(f"c{n}", ("v", f"v{n}")) for n in range(0, FACTS_A_SCRIPT, 7)]
    _, held = use(url, namespace, ("conversions", conversions), ("touchpoints", clicks))
    assert sorted(item.conversion_id for item in held) == sorted(item.id for item in conversions)
    assert all(ids(item.touchpoints) == [f"k{item.conversion_id[1:]}"] for item in held)


def test_an_empty_batch_asks_nothing(url: str, namespace: str) -> None:
    assert use(url, namespace, ("touchpoints", []), ("conversions", [])) == [[], []]


def test_keys_name_nobody(url: str, namespace: str, server: redis.Redis) -> None:
    """Keys are seen in slow logs and by operators: they hold tenants and pseudonymous ids, and no more."""
    personal = {"ip": "192.0.2.77", "user_agent": "Agent/7", "email_sha256": "ab" * 32, "phone_sha256": "cd" * 32}
    facts = {
        topic: facts_of(
            topic,
            [Record(0, SOON * 1000, message(topic, {**fields, **personal, "event_time": SOON * 1000}))],
            Retention(default_lookback_s=100, lateness_s=50),
        )
        for topic, fields in (("clicks", CLICK), ("conversions", CONVERSION))
    }
    use(url, namespace, ("touchpoints", facts["clicks"]), ("conversions", facts["conversions"]))
    keys = keys_of(server, namespace)
    rest = {key.split(namespace.encode())[1] for key in keys}
    reference = msgpack.packb(("acme", "c1"))
    assert rest == {b"t:4:acme:v:v1", b"t:4:acme:k:k1", b"c:4:acme:v:v1", b"k:" + reference}
    stored_of_clicks = b"".join(server.dump(key) for key in keys if b"t:" in key)
    assert not [value for value in personal.values() if value.encode() in stored_of_clicks]


# --- Failures, on a server of the test's own ---


@pytest.fixture
def own(tmp_path: Path) -> Iterator[redis.Redis]:
    port = free_ports(1)[0]
    server = local.Redis(tmp_path / "redis", {"redis": port})
    with subprocess.Popen(server.command(print), stdout=subprocess.DEVNULL) as process:
        try:
            while not server.is_healthy():
                time.sleep(0.05)
            with redis.Redis(port=port) as client:
                yield client
        finally:
            process.kill()


def url_of(client: redis.Redis, user: str = "") -> str:
    return f"redis://{user}127.0.0.1:{client.get_connection_kwargs()['port']}/0"


def test_a_closed_port_is_an_outage() -> None:
    with pytest.raises(Unavailable, match="Redis cannot serve now"):
        use(f"redis://127.0.0.1:{free_ports(1)[0]}/0", "n.", ("touchpoints", [fact("k1", V1)]))


def test_ping_says_whether_it_answers(url: str) -> None:
    asyncio.run(_ping(url))
    with pytest.raises(Unavailable):
        asyncio.run(_ping(f"redis://127.0.0.1:{free_ports(1)[0]}/0"))


async def _ping(url: str) -> None:
    store = AttributionStore(url)
    try:
        await store.ping()
    finally:
        await store.close()


PASSING: dict[str, Callable[[redis.Redis], Any]] = {
    "out of memory": lambda client: client.config_set("maxmemory", "1"),
    "read only": lambda client: client.replicaof("127.0.0.1", "1"),
    "too few replicas": lambda client: client.config_set("min-replicas-to-write", "1"),
}


@pytest.mark.parametrize("break_it", PASSING.values(), ids=PASSING)
def test_a_server_that_cannot_serve_now_is_an_outage(own: redis.Redis, break_it: Callable[[redis.Redis], Any]) -> None:
    use(url_of(own), "n.", ("touchpoints", [fact("k1", V1)]))
    break_it(own)
    with pytest.raises(Unavailable, match="Redis cannot serve now"):
        use(url_of(own), "n.", ("touchpoints", [fact("k2", V1)]))


def test_a_server_busy_with_a_script_is_an_outage(own: redis.Redis) -> None:
    own.config_set("busy-reply-threshold", "10")

    async def scenario() -> None:
        store = AttributionStore(url_of(own))
        busy = redis.asyncio.Redis.from_url(url_of(own))
        endless: Coroutine[Any, Any, Any] = busy.eval("while true do end", 0)
        running = asyncio.ensure_future(endless)
        await asyncio.sleep(0.3)
        try:
            with pytest.raises(Unavailable, match="BUSY"):
                await store.add_touchpoints([fact("k1", V1)])
        finally:
            own.script_kill()
            await asyncio.gather(running, return_exceptions=True)
            await busy.aclose()
            await store.close()

    asyncio.run(scenario())


def test_a_closed_door_is_not_an_outage(own: redis.Redis) -> None:
    """Waiting would not help: the role has to stop and say so."""
    own.execute_command("ACL", "SETUSER", "reader", "on", ">right", "~*", "+ping", "+client")
    step = ("touchpoints", [fact("k1", V1)])
    with pytest.raises(Refused, match="does not let us in"):
        use(url_of(own, "reader:wrong@"), "n.", step)
    with pytest.raises(Refused, match="does not let us in"):
        use(url_of(own, "reader:right@"), "n.", step)


def test_a_defect_stays_what_it_is(own: redis.Redis) -> None:
    own.set("sl:1:{s0}:n.t:" + identifier("acme", *V1), "not a hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        use(url_of(own), "n.", ("touchpoints", [fact("k1", V1)]))
