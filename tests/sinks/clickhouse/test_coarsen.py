import ipaddress

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks.clickhouse import coarsen

IPHONE = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
    "Version/17.5 Mobile/15E148 Safari/604.1"
)


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        (" 192.0.2.77 ", "192.0.2.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("2001:DB8:1:2:3::4", "2001:db8:1::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("::ffff:c000:24d", "192.0.2.0/24"),
        ("fe80::1%eth0", "fe80::/48"),
        ("::1", "::/48"),
        ("192.0.2.77:8080", ""),
        ("192.0.2", ""),
        ("192.0.2.256", ""),
        ("1", ""),
        ("unknown", ""),
        ("", ""),
        ("\x00", ""),
    ],
)
def test_network(ip: str, network: str) -> None:
    assert coarsen.network(ip) == network


@given(st.ip_addresses())
def test_no_network_singles_an_address_out(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    network = ipaddress.ip_network(coarsen.network(str(address)))
    assert network.num_addresses >= 256
    mapped = getattr(address, "ipv4_mapped", None)
    assert (mapped or address) in network


@pytest.mark.parametrize(
    ("url", "page"),
    [
        ("https://u:p@shop.example/a?mail=x#y", "https://shop.example/a"),
        ("https://shop.example", "https://shop.example"),
        ("https://shop.example/a/?", "https://shop.example/a/"),
        ("https://shop.example/a#b?c", "https://shop.example/a"),
        ("https://shop.example/of/jo@shop.example/x?y", "https://shop.example/of/redacted/x"),
        ("https://shop.example/of/jo%40shop.example", "https://shop.example/of/redacted"),
        ("https://shop.example/of/jo%2540shop.example", "https://shop.example/of/redacted"),
        ("mailto:jo@shop.example", "redacted"),
        ("shop.example/a?b", "shop.example/a"),
        ("/a?b", "/a"),
        ("android-app://com.example.app/", "android-app://com.example.app/"),
        ("http://[broken/a?b=c", "http://[broken/a"),
        ("https://shop.example/日本?q", "https://shop.example/日本"),
        ("?secret", ""),
        ("", ""),
    ],
)
def test_page(url: str, page: str) -> None:
    assert coarsen.page(url) == page


@given(st.text(), st.text())
def test_page_never_holds_a_query(before: str, after: str) -> None:
    page = coarsen.page(f"{before}?{after}")
    assert "?" not in page
    assert "#" not in page


def test_devices_are_families() -> None:
    assert coarsen.browser(IPHONE) == "Mobile Safari 17"
    assert coarsen.os(IPHONE) == "iOS"
    assert coarsen.device(IPHONE) == "Apple"


@pytest.mark.parametrize("junk", ["", "x", "\x00", "Mozilla/5.0", "(" * 2048, "日本" * 1000])
def test_junk_is_no_device(junk: str) -> None:
    assert (coarsen.browser(junk), coarsen.os(junk), coarsen.device(junk)) == ("", "", "")


@given(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2", "::1", None, ""])))
def test_each_value_of_a_column_is_coarsened(values: list[str | None]) -> None:
    column = pa.array([*values, None], pa.string())
    expected = [coarsen.network(value) if value else "" for value in values]
    assert coarsen.of_distinct(column, coarsen.network).to_pylist() == [*expected, ""]
    assert coarsen.of_distinct(column.slice(0, len(values)), coarsen.network).to_pylist() == expected
