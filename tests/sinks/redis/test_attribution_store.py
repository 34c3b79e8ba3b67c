"""Facts in the real Redis: sets under identifiers, in buckets, behind fences."""

import asyncio
import io
import itertools
import re
import subprocess
import time
import uuid
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
import redis

from deploy.local import redis as local
from deploy.local.processes import free_ports
from deploy.local.stack import LocalStack
from deploy.local.state import read_state
from processors.attribution.facts import STORED_TYPES, Retention, click_facts
from processors.attribution.identifiers import click_name
from schemas.facts import ConversionFact, Entries, Held, HeldContent, HeldConversion, HeldEntries
from schemas.spans import Partition, Span
from sinks.errors import Refused, Unavailable
from sinks.redis import attribution_store
from sinks.redis.attribution_store import ENTRIES_A_SCRIPT, MAX_ENTRIES, MAX_LINKS, AttributionStore
from tests.processors.records import CLICK, CONVERSION, Record, decode, facts_of, message

SOON = int(time.time()) + 3_600
PARTITION = Partition("topic-id", 0)
#: Kind of fact, facts, and perhaps links.
Step = tuple[Any, ...]
HEAD = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Head",
        "fields": [{"name": name, "type": avro} for name, avro in itertools.islice(STORED_TYPES.items(), 5)],
    }
)
NOTHING = Held([], {}, {})


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


def use(url: str, namespace: str, *steps: Step, shards: int = 1) -> list[Held]:
    """The answers of a store to these calls, one after the other, each a record further in one partition."""

    async def run() -> list[Held]:
        store = AttributionStore(url, namespace=namespace, shards=shards)
        try:
            await store.fences.begin({PARTITION: 0})
            answers = []
            for offset, (kind, *facts) in enumerate(steps):
                answers.append(
                    together(await getattr(store, f"add_{kind}")(Span(PARTITION, offset, offset + 1), *facts))
                )
            return answers
        finally:
            await store.close()

    return asyncio.run(run())


def together(readings: Sequence[Held]) -> Held:
    """What scripts have read while nobody else stored anything."""
    conversions = [item for held in readings for item in held.conversions]
    touchpoints = {name: item for held in readings for name, item in held.touchpoints.items()}
    links = {name: item for held in readings for name, item in held.links.items()}
    return Held(conversions, touchpoints, links)


def touchpoint(click_id: str, visitor_id: str = "") -> bytes:
    """The beginning of a stored click, which is all that the store looks at."""
    fields = {"click_id": click_id, "visitor_id": visitor_id or None, "external_id": None, "email": None, "phone": None}
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, HEAD, fields)
    return stream.getvalue()


def link(one: str, other: str, bucket: int = 2, account: str = "acme") -> Entries:
    """A link, as it is stored under both of its identifiers."""
    return Entries(account, bucket, SOON, [6, 7, 8], [one, other], [bytes(9) + other.encode(), bytes(9) + one.encode()])


def clicks(*pairs: tuple[str, str], account: str = "acme", bucket: int = 7, expires_at_s: int = SOON) -> Entries:
    """Touchpoints of (identifier, click_id)."""
    identifiers, contents = [name for name, _ in pairs], [touchpoint(click_id) for _, click_id in pairs]
    return Entries(account, bucket, expires_at_s, [6, 7, 8], identifiers, contents)


def conversion(
    conversion_id: str,
    *asked_by: str,
    account: str = "acme",
    content: bytes = b"\x00content",
    bucket: int = 7,
    expires_at_s: int = SOON,
) -> ConversionFact:
    return ConversionFact(account, conversion_id, content, asked_by, bucket, [6, 7], [2], expires_at_s, expires_at_s)


def keys_of(server: redis.Redis, namespace: str) -> list[bytes]:
    """Keys of facts."""
    return sorted(key for key in server.scan_iter(count=1000) if re.search(namespace.encode() + b"[tgck]:", key))


def snapshot(server: redis.Redis, namespace: str) -> dict[bytes, Any]:
    """All facts of a namespace, with expiries."""
    found = {}
    for key in keys_of(server, namespace):
        value = server.smembers(key) if server.type(key) == b"set" else server.hgetall(key)
        found[key] = (value, server.expiretime(key))
    return found


def held_under(held: Held, identifier: str, account: str = "acme") -> list[str]:
    return sorted(map(click_id_of, held.touchpoints[account, identifier].contents))


def click_id_of(content: bytes) -> str:
    head = fastavro.schemaless_reader(io.BytesIO(content), HEAD, None)
    assert isinstance(head, dict)
    return str(head["click_id"])


def ids(held: Held) -> list[str]:
    return sorted(item.conversion_id for item in held.conversions)


def test_whichever_is_stored_second_reads_the_other(url: str, namespace: str) -> None:
    click, bought = clicks(("vv1", "k1"), ("kk1", "k1")), conversion("c1", "vv1", content=b"conversion")
    nothing, held = use(url, namespace, ("touchpoints", [click]), ("conversions", [bought]))
    assert nothing == NOTHING
    assert held.conversions == [HeldConversion("acme", "c1", [HeldContent(["vv1"], b"conversion")], ["vv1"])]
    assert held.touchpoints == {("acme", "vv1"): HeldEntries([touchpoint("k1")], [])}
    alone, together = use(url, f"other-{namespace}", ("conversions", [bought]), ("touchpoints", [click]))
    assert alone == Held(held.conversions, {}, {})
    assert together == held


def test_all_identifiers_of_all_contents_are_asked(url: str, namespace: str) -> None:
    first, second = conversion("c1", "vv1"), conversion("c1", "vv2", "kk1", content=b"second")
    touched = clicks(("kk1", "k1"), ("vv1", "k2"), ("vv2", "k3"), ("vv4", "k4"))
    *_, held = use(url, namespace, ("conversions", [first, second]), ("touchpoints", [touched]))
    assert held.touchpoints.keys() == {("acme", name) for name in ("kk1", "vv1", "vv2")}
    [found] = held.conversions
    assert sorted(item.content for item in found.contents) == [b"\x00content", b"second"]


def test_only_what_the_clicks_concern_is_returned(url: str, namespace: str) -> None:
    bought = [conversion("c1", "vv1"), conversion("c2", "vv2"), conversion("c3", "vv1", "vv2"), conversion("c4")]
    _, held = use(url, namespace, ("conversions", bought), ("touchpoints", [clicks(("vv1", "k1"))]))
    assert ids(held) == ["c1", "c3"]


def test_buckets_that_nobody_asks_for_are_not_read(url: str, namespace: str) -> None:
    near, far = clicks(("vv1", "near"), bucket=6), clicks(("vv1", "far"), bucket=9)
    *_, held = use(url, namespace, ("touchpoints", [near, far]), ("conversions", [conversion("c1", "vv1")]))
    assert held_under(held, "vv1") == ["near"]
    *_, held = use(url, namespace, ("conversions", [conversion("c2", "vv2", bucket=9)]), ("touchpoints", [near]))
    assert ids(held) == ["c1"]


def test_storing_again_changes_nothing_and_answers_again(url: str, namespace: str, server: redis.Redis) -> None:
    steps: list[Step] = [
        ("touchpoints", [clicks(("vv1", "k1"), ("kk1", "k1"), ("vv1", "k2"), ("vv2", "k2'"))]),
        ("conversions", [conversion("c1", "vv1"), conversion("c2", "kk1"), conversion("c1", "vv2", content=b"2")]),
    ]
    use(url, namespace, *steps)
    before = snapshot(server, namespace)
    first, second = use(url, namespace, *steps), use(url, namespace, *steps)
    assert snapshot(server, namespace) == before
    assert len(before) == 4
    for once, again in zip(first, second, strict=True):
        assert ids(once) == ids(again) != []
        assert once.touchpoints == again.touchpoints


def test_a_content_that_contains_another_is_another(url: str, namespace: str) -> None:
    """Entries are told apart by their lengths, whatever bytes a publisher puts into a field."""
    framed = "\x00\x02k1"
    steps = [("touchpoints", [clicks(("vv1", text))]) for text in (f"x{framed}y", "k1", framed, "k1", f"x{framed}y")]
    *_, held = use(url, namespace, *steps, ("conversions", [conversion("c1", "vv1")]))
    assert held_under(held, "vv1") == sorted([f"x{framed}y", "k1", framed])


@pytest.mark.parametrize("kind", ["touchpoints", "conversions"])
def test_an_expiry_is_always_set_and_only_ever_extended(
    url: str, namespace: str, server: redis.Redis, kind: str
) -> None:
    for expires_at_s, expected in [(SOON, SOON), (SOON - 500, SOON), (SOON + 500, SOON + 500)]:
        name = str(expires_at_s)
        touched = clicks(("vv1", name), expires_at_s=expires_at_s)
        bought = conversion("x", f"v{name}", content=name.encode(), expires_at_s=expires_at_s)
        use(url, namespace, (kind, [touched if kind == "touchpoints" else bought]))
        expiries = {key: server.expiretime(key) for key in keys_of(server, namespace)}
        assert set(expiries.values()) == {expected}
        assert len(expiries) == (1 if kind == "touchpoints" else 2)


def test_what_has_expired_is_not_there(url: str, namespace: str, server: redis.Redis) -> None:
    past = int(time.time()) - 10
    steps: list[Step] = [
        ("touchpoints", [clicks(("vv1", "k1"), expires_at_s=past)]),
        ("conversions", [conversion("c1", "vv1", expires_at_s=past)]),
        ("touchpoints", [clicks(("vv1", "k2"))]),
    ]
    *_, arrived, held = use(url, namespace, *steps)
    assert arrived == held == NOTHING
    assert len(keys_of(server, namespace)) == 1


def test_a_reference_to_an_expired_conversion_leads_nowhere(url: str, namespace: str, server: redis.Redis) -> None:
    use(url, namespace, ("conversions", [conversion("c1", "vv1"), conversion("c2", "vv1")]))
    [expired] = [key for key in keys_of(server, namespace) if key.endswith(b"k:4:acme:c1")]
    server.delete(expired)
    [held] = use(url, namespace, ("touchpoints", [clicks(("vv1", "k1"))]))
    assert ids(held) == ["c2"]


@pytest.mark.parametrize("order", [1, -1])
def test_more_than_identifies_anybody_identifies_nobody(url: str, namespace: str, order: int) -> None:
    """Whatever the order, and for good; other identifiers and buckets are not touched."""
    many = [clicks(("vnull", f"k{n}")) for n in range(MAX_ENTRIES + 1)][::order]
    enough = clicks(*(("v1", f"k{n}") for n in range(MAX_ENTRIES)))
    other = clicks(("vnull", "k"), bucket=6)
    bought = conversion("c1", "vnull", "v1")
    [*_, held] = use(url, namespace, ("touchpoints", [*many, enough, other]), ("conversions", [bought]))
    assert held.touchpoints["acme", "vnull"] == HeldEntries([touchpoint("k")], [7])
    assert len(held.touchpoints["acme", "v1"].contents) == MAX_ENTRIES
    [again] = use(url, namespace, ("touchpoints", [clicks(("vnull", "one more"))]))
    assert again.touchpoints["acme", "vnull"].overfull == [7]


@pytest.mark.parametrize("shards", [1, 3])
def test_every_key_of_a_tenant_is_in_its_shard(url: str, namespace: str, server: redis.Redis, shards: int) -> None:
    tenants = [f"tenant-{n}" for n in range(12)]
    touched = [clicks(("vv1", f"of-{name}"), account=name) for name in tenants]
    bought = [conversion("c1", "vv1", account=name) for name in tenants]
    _, held = use(url, namespace, ("touchpoints", touched), ("conversions", bought), shards=shards)
    assert {name: held_under(held, "vv1", name) for name in tenants} == {name: [f"of-{name}"] for name in tenants}
    tags: dict[str, set[str]] = {}
    for key in keys_of(server, namespace):
        found = re.match(rf"sl:2:\{{(s\d)\}}:{re.escape(namespace)}[tgck]:.*(tenant-\d+)", key.decode())
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
    "a:7",
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
    touched, bought, expected = [], [], {}
    for account in ODD:
        names = [kind + value for value in ODD for kind in ("v", "k")]
        touched.append(clicks(*((name, f"{account}|{name}") for name in names), account=account))
        for name in names:
            bought.append(conversion(name, name, account=account))
            expected[account, name] = [touchpoint(f"{account}|{name}")]
    _, held = use(url, namespace, ("conversions", bought), ("touchpoints", touched))
    assert {(item.account_id, item.conversion_id) for item in held.conversions} == expected.keys()
    assert {key: item.contents for key, item in held.touchpoints.items()} == expected


def test_namespaces_are_apart(url: str, namespace: str) -> None:
    use(url, namespace, ("conversions", [conversion("c1", "vv1")]))
    assert use(url, f"{namespace}t", ("touchpoints", [clicks(("vv1", "k1"))])) == [NOTHING]


def test_a_batch_larger_than_a_script(url: str, namespace: str) -> None:
    """A conversion that several scripts concern is returned once, as the last of them has read it."""
    count = 2 * ENTRIES_A_SCRIPT + 1
    touched = [clicks(*((f"v{n % 40}", f"k{n}") for n in range(count)))]
    _, held = use(
        url, namespace, ("conversions", [conversion("c1", "v7"), conversion("c2", "v0")]), ("touchpoints", touched)
    )
    assert ids(held) == ["c1", "c2"]
    assert held_under(held, "v7") == sorted(f"k{n}" for n in range(7, count, 40))


def test_an_empty_batch_asks_nothing(url: str, namespace: str) -> None:
    assert use(url, namespace, ("touchpoints", []), ("conversions", [])) == [NOTHING] * 2


def test_keys_name_nobody(url: str, namespace: str, server: redis.Redis) -> None:
    """Keys are seen in slow logs and by operators: they hold tenants and conversion ids, and no more."""
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
    bucket = str(facts["clicks"][0].bucket).encode()
    rest = {key.split(namespace.encode())[1] for key in keys}
    assert rest == {b"t:4:acme:" + bucket, b"c:4:acme:" + bucket, b"k:4:acme:c1"}
    stored_of_clicks = b"".join(server.dump(key) for key in keys if b"t:" in key)
    assert not [value for value in personal.values() if value.encode() in stored_of_clicks]


def test_a_large_bucket_is_stored_and_read(url: str, namespace: str) -> None:
    """As the role stores it, with two identifiers a click."""
    count = 3 * ENTRIES_A_SCRIPT // 2
    fields = [{**CLICK, "visitor_id": f"v{n}", "click_id": f"k{n}", "event_time": SOON * 1000} for n in range(count)]
    batch = decode("clicks", [message("clicks", item) for item in fields])
    facts = click_facts(batch, np.full(count, SOON * 1000, np.int64), Retention(100, 50))
    bought = conversion("c1", "vv3", click_name("k2999"), bucket=facts[0].bucket)._replace(
        touchpoint_buckets=[facts[0].bucket]
    )
    _, held = use(url, namespace, ("touchpoints", facts), ("conversions", [bought]))
    # The click that it remembers is the other visitor's.
    assert {key: len(item.contents) for key, item in held.touchpoints.items()} == {
        ("acme", name): 1 for name in ("vv3", click_name("k2999"), "vv2999")
    }


def test_links_lead_from_one_identifier_to_the_next(url: str, namespace: str) -> None:
    links = [link("vv1", "e1"), link("e1", "vv2"), link("vv2", "p1"), link("vv9", "e9"), link("p1", "vv3", bucket=3)]
    touched = clicks(("vv2", "k2"), ("p1", "k3"), ("vv3", "k4"))
    *_, held = use(url, namespace, ("touchpoints", [touched], links), ("conversions", [conversion("c1", "vv1")]))
    [found] = held.conversions
    # A bucket of links that it does not ask leads nowhere.
    assert found.reached == ["vv1", "e1", "vv2", "p1"]
    assert found.steps_cut == 0
    assert held.touchpoints.keys() == {("acme", "vv2"), ("acme", "p1")}
    assert {name for _, name in held.links} == {"vv1", "e1", "vv2", "p1"}


@pytest.mark.parametrize("last", range(4))
def test_whatever_of_a_path_is_stored_last_finds_the_conversion(url: str, namespace: str, last: int) -> None:
    path: list[Step] = [
        ("touchpoints", [], [link("vv1", "e1")]),
        ("touchpoints", [], [link("e1", "vv2")]),
        ("touchpoints", [clicks(("vv2", "k2"))]),
        ("conversions", [conversion("c1", "vv1")]),
    ]
    *_, held = use(url, namespace, *path[:last], *path[last + 1 :], path[last])
    assert ids(held) == ["c1"]
    assert held_under(held, "vv2") == ["k2"]


def test_the_click_a_conversion_remembers_leads_to_who_clicked(url: str, namespace: str) -> None:
    remembered = Entries("acme", 7, SOON, [7], ["kk1", "vv1"], [touchpoint("k1", "v1")] * 2)
    bought = ("conversions", [conversion("c1", "kk1")])
    *_, held = use(url, namespace, ("touchpoints", [remembered]), bought, ("touchpoints", [clicks(("vv1", "k2"))]))
    assert ids(held) == ["c1"]
    assert held_under(held, "vv1") == ["k1", "k2"]


def test_more_than_a_person_has_is_not_gone_into(url: str, namespace: str) -> None:
    """A step is gone whole or not at all, however much lies there; what is nearer stays."""
    shared = [link("vv1", "e1"), *(link("e1", f"vt{n}") for n in range(MAX_LINKS - 1))]
    more = [link("vt7", f"x{n}") for n in range(9)]
    bought = ("conversions", [conversion("c1", "vv1")])
    *_, held = use(url, namespace, ("touchpoints", [], shared + more), bought)
    [found] = held.conversions
    assert found.reached == ["vv1", "e1"]
    assert found.steps_cut > 0
    [again, _] = use(url, namespace, ("touchpoints", [], [link("e1", "vt-more")]), bought)
    assert again.links["acme", "e1"] == HeldEntries([], [2])


def test_wiping_leaves_nothing_but_others(url: str, namespace: str, server: redis.Redis) -> None:
    steps: list[Step] = [("touchpoints", [clicks(("vv1", "k1"))]), ("conversions", [conversion("c1", "vv1")])]
    use(url, namespace, *steps)
    use(url, f"{namespace}x", *steps)

    async def wipe() -> int:
        store = AttributionStore(url, namespace=namespace)
        try:
            return await store.wipe()
        finally:
            await store.close()

    assert asyncio.run(wipe()) == 3
    assert keys_of(server, namespace) == []
    assert not server.exists(f"sl:2:{{s0}}:{namespace}f:attribution")
    assert len(keys_of(server, f"{namespace}x")) == 3


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
        use(f"redis://127.0.0.1:{free_ports(1)[0]}/0", "n.", ("touchpoints", [clicks(("vv1", "k1"))]))


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
    use(url_of(own), "n.", ("touchpoints", [clicks(("vv1", "k1"))]))
    break_it(own)
    with pytest.raises(Unavailable, match="Redis cannot serve now"):
        use(url_of(own), "n.", ("touchpoints", [clicks(("vv1", "k2"))]))


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
                await store.fences.begin({PARTITION: 0})
        finally:
            own.script_kill()
            await asyncio.gather(running, return_exceptions=True)
            await busy.aclose()
            await store.close()

    asyncio.run(scenario())


def test_a_closed_door_is_not_an_outage(own: redis.Redis) -> None:
    """Waiting would not help: the role has to stop and say so."""
    own.execute_command("ACL", "SETUSER", "reader", "on", ">right", "~*", "+ping", "+client")
    step = ("touchpoints", [clicks(("vv1", "k1"))])
    with pytest.raises(Refused, match="does not let us in"):
        use(url_of(own, "reader:wrong@"), "n.", step)
    with pytest.raises(Refused, match="does not let us in"):
        use(url_of(own, "reader:right@"), "n.", step)


def test_a_defect_stays_what_it_is(own: redis.Redis) -> None:
    own.set("sl:2:{s0}:n.t:4:acme:7", "not a hash")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        use(url_of(own), "n.", ("touchpoints", [clicks(("vv1", "k1"))]))


def test_what_others_store_between_two_scripts_does_not_go_with_what_was_read_before(
    url: str, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or two versions of a conversion are made of as many facts, and not of the same."""
    monkeypatch.setattr(attribution_store, "CONVERSIONS_A_SCRIPT", 1)
    early, late = (clicks(("vv1", name), bucket=bucket) for name, bucket in (("k1", 6), ("k2", 7)))
    first, second = conversion("c1", "vv1"), conversion("c2", "vv1")._replace(touchpoint_buckets=[7])
    others = Partition("others", 0)

    seen: list[Held] = []

    async def run() -> Sequence[Held]:
        store, other = (AttributionStore(url, namespace=namespace) for _ in range(2))
        script = store.fences.run

        async def then_others(*args: Any, **kwargs: Any) -> Any:
            answer = await script(*args, **kwargs)
            for offset, touched in enumerate(() if seen else (early, late)):
                seen.extend(await other.add_touchpoints(Span(others, offset, offset + 1), [touched]))
            return answer

        try:
            await store.fences.begin({PARTITION: 0, others: 0})
            monkeypatch.setattr(store.fences, "run", then_others)
            return await store.add_conversions(Span(PARTITION, 0, 1), [first, second])
        finally:
            await store.close()
            await other.close()

    own = asyncio.run(run())
    assert [held_under(held, "vv1") for held in seen] == [["k1"], ["k1", "k2"]]
    assert [(ids(held), held.touchpoints.keys()) for held in own] == [(["c1"], set()), (["c2"], {("acme", "vv1")})]
    assert held_under(own[1], "vv1") == ["k2"]


def test_a_correction_that_comes_while_its_conversion_is_settled_stays_due(url: str, namespace: str) -> None:
    async def scenario() -> list[int]:
        store = AttributionStore(url, namespace=namespace)
        name = ("acme", "c")
        taken = []
        try:
            await store.fences.begin({PARTITION: 0})
            await store.add_conversions(Span(PARTITION, 0, 1), [conversion("c")._replace(due_ms=1_000)])
            taken.append(len((await store.settle(2_000, 10, 62_000)).conversions))
            taken.append(len((await store.settle(3_000, 10, 63_000)).conversions))  # somebody has it
            await store.reschedule([name], {name: 0})
            await store.settled([name], {}, 62_000)
            taken.append(len((await store.settle(4_000, 10, 64_000)).conversions))
            await store.settled([name], {name: 5_000}, 64_000)
            taken.append(len((await store.settle(4_500, 10, 64_500)).conversions))
            taken.append(len((await store.settle(5_000, 10, 65_000)).conversions))
            await store.settled([name], {}, 65_000)
            taken.append(len((await store.settle(100_000, 10, 200_000)).conversions))
        finally:
            await store.close()
        return taken

    assert asyncio.run(scenario()) == [1, 0, 1, 0, 1, 0]


def test_tenants_of_any_name_are_settled(url: str, namespace: str) -> None:
    async def scenario() -> Held:
        store = AttributionStore(url, namespace=namespace)
        names = "acme", "münchen", "商店"
        facts = [conversion("c:1", account=name)._replace(due_ms=1_000) for name in names]
        try:
            await store.fences.begin({PARTITION: 0})
            await store.add_conversions(Span(PARTITION, 0, 1), facts)
            return await store.settle(2_000, 10, 62_000)
        finally:
            await store.close()

    found = asyncio.run(scenario())
    assert sorted((item.account_id, item.conversion_id) for item in found.conversions) == [
        ("acme", "c:1"),
        ("münchen", "c:1"),
        ("商店", "c:1"),
    ]
