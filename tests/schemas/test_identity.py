import hashlib
from datetime import UTC, datetime, timedelta

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.identity import (
    EMAIL,
    EXTERNAL_ID,
    IDENTIFIER_FIELDS,
    PHONE,
    hash_fields,
    hash_identifier,
    normalise,
    valid_fbc,
    valid_fbp,
    valid_ip,
    valid_lead_id,
)

EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
MD5 = "0cc175b9c0f1b6a831c399e269772661"

fields = st.sampled_from(sorted(IDENTIFIER_FIELDS))
countries = st.sampled_from([None, "us", "GB", "DE", "kr", "AQ", "Brazil", "nowhere", ""])
# Plain text rarely looks like an identifier; the second alphabet stays close to where the rules bite.
texts = st.text() | st.text(alphabet=" +-./@()'0123456789abcdefABCzİßΣ́é정%\ud800") | st.emails()
values = texts | st.binary() | st.integers() | st.none() | st.booleans() | st.floats() | st.lists(st.text())


@pytest.mark.parametrize(
    ("field", "value", "country", "normalised", "digest"),
    [
        (
            EMAIL,
            "John_Smith@gmail.com",
            None,
            "john_smith@gmail.com",
            "62a14e44f765419d10fea99367361a727c12365e2520f32218d505ed9aa0f62f",
        ),
        (
            PHONE,
            "(650)555-1212",
            "US",
            "16505551212",
            "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176",
        ),
        ("fn", "Mary", None, "mary", "6915771be1c5aa0c886870b6951b03d7eafc121fea0e80a5ea83beb7c449f4ec"),
        ("fn", "정", None, "정", "8fa8cd9c440be61d0151429310034083132b35975c4bea67fdd74158eb51db14"),
        ("ln", "Valéry", None, "valéry", "08e1996b5dd49e62a4b4c010d44e4345592a863bb9f8e3976219bac29417149c"),
        (
            "db",
            "2/16/1997",
            None,
            "19970216",
            "01acdbf6ec7b4f478a225f1a246e5d6767eeab1a7ffa17f025265b5b94f40f0c",
        ),
        ("country", "US", None, "us", "79adb2a2fce5c6ba215fe5f27f532d4e7edbac4b6a5e09e1ef3a08084a904621"),
    ],
)
def test_published_vectors(field, value, country, normalised, digest):
    assert normalise(field, value, country=country) == normalised
    assert hash_identifier(field, value, country=country) == digest
    assert hashlib.sha256(normalised.encode()).hexdigest() == digest


class TestDefectsOfTheVendorsLibrary:
    """Cases facebook_business 26.0.3 hashes wrongly or raises on."""

    @pytest.mark.parametrize(
        ("field", "value", "country", "expected"),
        [
            ("db", "2/16/1997", "US", "19970216"),
            ("fn", "Mary-Ann", None, "maryann"),
            ("ln", "O'Neil", None, "oneil"),
            ("ct", "Coeur d'Alene", None, "coeurdalene"),
            ("st", "California", "US", "ca"),
            ("ph", "6505551212", None, None),
            ("ph", "650.555.1212", "US", "16505551212"),
            ("ph", "+44 (0)20 7946 0958", None, "442079460958"),
            ("country", "usa", None, "us"),
            ("country", "United States", None, "us"),
            ("em", MD5, None, None),
        ],
    )
    def test_case(self, field, value, country, expected):
        assert normalise(field, value, country=country) == expected

    def test_the_external_id_is_hashed(self):
        assert hash_identifier(EXTERNAL_ID, "User-1") == hashlib.sha256(b"User-1").hexdigest()


class TestEmail:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("  Jo.Doe+Tag@Example.CO.UK\n", "jo.doe+tag@example.co.uk"),
            ("j.o.h.n@gmail.com", "j.o.h.n@gmail.com"),
            (b"jo@example.com", "jo@example.com"),
            ("o'neil@example.com", "o'neil@example.com"),
            ("jo..@docomo.ne.jp", "jo..@docomo.ne.jp"),
            ("jo@müller.de", "jo@müller.de"),
        ],
    )
    def test_addresses(self, value, expected):
        assert normalise(EMAIL, value) == expected

    @pytest.mark.parametrize(
        "value",
        [
            "null",
            "none@",
            "@example.com",
            "jo@example",
            "jo doe@example.com",
            "jo@exam ple.com",
            "jo@@example.com",
            "a@b@c.com",
            "jo@.com",
            "jo@example..com",
            "jo@example.com.",
            "Jo <jo@example.com>",
            "jo@example.com,",
            "a@example.com;b@example.com",
            "jo@192.0.2.1",
            "mailto:jo@example.com",
            "jo\u200b@example.com",
            "x" * 65 + "@example.com",
            "jo@" + "example." * 40 + "com",
            b"\xff@example.com",
            5,
            1.5,
            True,
            None,
            ["a@b.com"],
        ],
    )
    def test_what_is_no_address_is_dropped(self, value):
        assert normalise(EMAIL, value) is None


class TestPhone:
    @pytest.mark.parametrize(
        ("value", "country", "expected"),
        [
            ("16505551212", "US", "16505551212"),
            (16505551212, "US", "16505551212"),
            ("1-650-555-1212", "USA", "16505551212"),
            ("+1 (650) 555-1212 ext. 9", None, "16505551212"),
            ("tel:+1-650-555-1212", None, "16505551212"),
            ("011 44 20 7946 0958", "US", "442079460958"),
            ("0044 20 7946 0958", None, "442079460958"),
            ("00 44 (0)20 7946 0958", "US", "442079460958"),
            ("0011 44 20 7946 0958", "AU", "442079460958"),
            ("020 7946 0958", "GB", "442079460958"),
            ("+44 20 7946 0958", "US", "442079460958"),
            ("015123456789", "DE", "4915123456789"),
            # 04915 is an area code as well, but nobody leaves its 0 out.
            ("4915123456789", "DE", "4915123456789"),
            ("02 3661 8300", "IT", "390236618300"),
            ("٠٦١٢٣٤٥٦٧٨", "FR", "33612345678"),
        ],
    )
    def test_numbers(self, value, country, expected):
        assert normalise(PHONE, value, country=country) == expected

    @pytest.mark.parametrize(
        ("value", "country"),
        [
            ("6505551212", None),
            ("16505551212", None),
            ("442079460958", "US"),
            ("5551212", "US"),
            ("911", "US"),
            ("0000000000", "US"),
            ("1111111111", "US"),
            ("1234567890", "US"),
            ("6505551212", "AQ"),
            ("6505551212", "??"),
            ("00", "US"),
            ("+", "US"),
            ("null", "US"),
            ("650555121265055512126505551212", "US"),
            ("6" * 600, "US"),
        ],
    )
    def test_what_is_no_full_number_is_dropped(self, value, country):
        assert normalise(PHONE, value, country=country) is None

    @pytest.mark.parametrize("kind", [phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE])
    @pytest.mark.parametrize(
        "style", [phonenumbers.PhoneNumberFormat.NATIONAL, phonenumbers.PhoneNumberFormat.INTERNATIONAL]
    )
    def test_every_country_is_stable_under_a_second_pass(self, kind, style):
        for region in phonenumbers.SUPPORTED_REGIONS - {"AC", "TA"}:  # the two outside ISO 3166-1
            example = phonenumbers.example_number_for_type(region, kind)
            if example is None:
                continue
            once = normalise(PHONE, phonenumbers.format_number(example, style), country=region)
            e164 = phonenumbers.format_number(example, phonenumbers.PhoneNumberFormat.E164)
            assert once == e164.removeprefix("+"), region
            assert normalise(PHONE, once, country=region) == once
            assert normalise(PHONE, e164) == once


class TestNamesAndPlaces:
    @pytest.mark.parametrize(
        ("field", "value", "country", "expected"),
        [
            ("fn", "Vale\u0301ry", None, "val\u00e9ry"),
            ("fn", "Mary Ann", None, "maryann"),
            ("ln", "ÅSTRÖM", None, "åström"),
            ("fn", "हिन्दी", None, "हिन्दी"),
            ("ln", "\u2013.-", None, None),
            ("ct", "New York", None, "newyork"),
            ("ct", "São Paulo", None, "sãopaulo"),
            ("ct", "St. John's", None, "stjohns"),
            ("st", "AZ", "US", "az"),
            ("st", "New Hampshire", "us", "nh"),
            ("st", "N.Y.", "US", "ny"),
            ("st", "Washington, D.C.", "US", "dc"),
            ("st", "Bavaria", "US", None),
            ("st", "Nordrhein-Westfalen", "DE", "nordrheinwestfalen"),
            ("st", "California", None, "california"),
            ("zp", "94035-1234", "US", "94035"),
            ("zp", "94035-1234", None, "94035"),
            ("zp", "940351234", "US", "94035"),
            ("zp", 94035, "US", "94035"),
            ("zp", 2139, "US", None),
            ("zp", "M1 1AE", "GB", "m11ae"),
            ("zp", "01310-100", "BR", "01310100"),
            ("zp", "\uff11\uff10\uff10\uff0d\uff10\uff10\uff10\uff11", "JP", "1000001"),
            ("ge", "Female", None, "f"),
            ("ge", " M ", None, "m"),
            ("ge", "unknown", None, None),
            ("country", "GBR", None, "gb"),
            ("country", "UK", None, "gb"),
            ("country", "U.S.A.", None, "us"),
            ("country", "Türkiye", None, "tr"),
            ("country", "zz", None, None),
            ("country", "Atlantis", None, None),
        ],
    )
    def test_case(self, field, value, country, expected):
        assert normalise(field, value, country=country) == expected

    def test_country_codes_are_iso_3166_1(self):
        listed = pytest.importorskip("pycountry").countries
        for country in listed:
            assert normalise("country", country.alpha_2) == country.alpha_2.lower()
            assert normalise("country", country.alpha_3) == country.alpha_2.lower()


class TestDateOfBirth:
    @pytest.mark.parametrize(
        ("value", "country", "expected"),
        [
            ("1997-02-16", None, "19970216"),
            ("19970216", None, "19970216"),
            (19970216, None, "19970216"),
            ("1997/2/16", "GB", "19970216"),
            ("1997-02-16T00:00:00Z", None, "19970216"),
            ("1997-02-16 00:00:00", None, "19970216"),
            ("16.02.1997", "DE", "19970216"),
            ("16/02/1997", "US", "19970216"),
            ("02/03/1997", "US", "19970203"),
            ("02/03/1997", "PH", "19970203"),
            ("02/03/1997", "GB", "19970302"),
            ("02/03/1997", None, None),
            ("03/03/1997", None, "19970303"),
            ("2/29/1996", "US", "19960229"),
        ],
    )
    def test_formats(self, value, country, expected):
        assert normalise("db", value, country=country) == expected

    @pytest.mark.parametrize(
        "value",
        [
            "2/29/1997",
            "1997-13-01",
            "1997-02-30",
            "00000000",
            "1900-01-01",
            "16/2/97",
            "97-02-16",
            "02161997",
            "2/16",
            "16 Feb 1997",
            "856051200",
            "1997-02-16x",
            "١٩٩٧-٠٢-١٦",
        ],
    )
    def test_what_is_no_birthday_is_dropped(self, value):
        assert normalise("db", value, country="US") is None

    def test_nobody_was_born_tomorrow(self):
        today = datetime.now(UTC).date()
        assert normalise("db", f"{today - timedelta(days=1):%Y-%m-%d}") is not None
        assert normalise("db", f"{today + timedelta(days=2):%Y-%m-%d}") is None


class TestExternalId:
    @pytest.mark.parametrize("value", ["User-1", "ÄB c", MD5, "9e107d9d372bb6826bd81d3542a419d6"])
    def test_stays_as_it_is(self, value):
        assert normalise(EXTERNAL_ID, f" {value}\n") == value

    def test_integers_are_ids(self):
        assert normalise(EXTERNAL_ID, 12345) == normalise(EXTERNAL_ID, "12345") == "12345"

    @pytest.mark.parametrize("value", ["", " ", "null", "None", "undefined", "NaN", 0, "0", False, None])
    def test_placeholders_are_nobodys_id(self, value):
        assert hash_identifier(EXTERNAL_ID, value) is None


class TestDigests:
    @given(fields, st.text(), countries)
    def test_a_hash_is_never_hashed_again(self, field, text, country):
        digest = hashlib.sha256(("x" + text).encode("utf-8", "replace")).hexdigest()
        assert hash_identifier(field, digest, country=country) == digest
        assert hash_identifier(field, f" {digest.upper()} ", country=country) == digest
        assert normalise(field, digest.upper(), country=country) == digest

    @pytest.mark.parametrize("field", sorted(IDENTIFIER_FIELDS - {EXTERNAL_ID}))
    @pytest.mark.parametrize("algorithm", ["md5", "sha1", "sha512"])
    def test_other_digests_are_dropped(self, field, algorithm):
        digest = hashlib.new(algorithm, b"jo@example.com").hexdigest()
        assert normalise(field, digest) is None
        assert normalise(field, digest.upper()) is None

    @pytest.mark.parametrize("field", sorted(IDENTIFIER_FIELDS))
    def test_the_hash_of_nothing_is_dropped(self, field):
        assert hash_identifier(field, EMPTY_SHA256) is None
        assert hash_identifier(field, EMPTY_SHA256.upper()) is None


class TestAnyInput:
    @settings(max_examples=250)
    @given(fields, values, countries)
    def test_never_raises_and_never_hashes_nothing(self, field, value, country):
        normalised = normalise(field, value, country=country)
        digest = hash_identifier(field, value, country=country)
        assert normalised != ""
        assert (digest is None) == (normalised is None)
        if digest is not None:
            assert len(digest) == 64
            assert set(digest) <= set("0123456789abcdef")
            assert digest != EMPTY_SHA256
            assert hash_identifier(field, digest, country=country) == digest

    @settings(max_examples=250)
    @given(fields.filter(lambda field: field != PHONE), values, countries)
    def test_normalising_twice_changes_nothing(self, field, value, country):
        once = normalise(field, value, country=country)
        if once is not None:
            assert normalise(field, once, country=country) == once

    @given(texts | st.from_regex(r"\+?[0-9 ().-]{5,20}", fullmatch=True), countries)
    def test_a_phone_number_is_stable_once_its_plus_is_back(self, text, country):
        once = normalise(PHONE, text, country=country)
        if once is not None:
            assert normalise(PHONE, "+" + once, country=country) == once

    def test_monsters_are_dropped(self):
        for value in (10**5000, -(10**5000), "9" * 100_000, b"9" * 100_000, "\ud800", object(), {}):
            assert all(hash_identifier(field, value, country="US") is None for field in IDENTIFIER_FIELDS)

    def test_unknown_fields_are_dropped(self):
        assert hash_identifier("email", "jo@example.com") is None


class TestHashFields:
    def test_bad_fields_are_named_and_the_others_stay(self):
        hashed, dropped = hash_fields(
            {
                "em": "none@",
                "ph": "650.555.1212",
                "fn": None,
                "ln": " ",
                "ct": b"",
                "db": "soon",
                "shoe": "42",
            },
            country="US",
        )
        assert hashed == {"ph": "e323ec626319ca94ee8bff2e4c87cf613be6ea19919ed1364124e16807ab3176"}
        assert dropped == ["em", "db", "shoe"]

    def test_the_persons_country_goes_before_the_shops(self):
        number = {"ph": "020 7946 0958"}
        expected = hashlib.sha256(b"442079460958").hexdigest()
        assert hash_fields(number | {"country": "United Kingdom"}, country="US")[0]["ph"] == expected
        assert hash_fields(number | {"country": "Atlantis"}, country="GB") == ({"ph": expected}, ["country"])
        assert hash_fields(number | {"country": "ab" * 32}, country="GB")[0]["ph"] == expected

    @given(st.dictionaries(fields | st.text(), values), countries)
    def test_nothing_leaves_in_the_clear(self, raw, country):
        hashed, dropped = hash_fields(raw, country=country)
        assert not hashed.keys() & set(dropped)
        assert hashed.keys() | set(dropped) <= raw.keys()
        assert all(len(digest) == 64 for digest in hashed.values())


class TestWhatIsNeverHashed:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1\n", "192.0.2.1"),
            ("2001:DB8::0:1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:443", None),
            ("192.0.2.256", None),
            ("192.0.2.1, 10.0.0.1", None),
            ("fe80::1%eth0", None),
            ("192.0.2.01", None),
            ("", None),
            (None, None),
            (5, None),
            ("unknown", None),
        ],
    )
    def test_ip(self, value, expected):
        assert valid_ip(value) == expected

    @pytest.mark.parametrize("check", [valid_fbc, valid_fbp])
    @pytest.mark.parametrize(
        "value",
        [
            "fb.1.1596403881668.1116446470",
            "fb.2.1554763741205.IwAR0_aB-cD",
            "fb.1.1554763741205.IwAR0_aB.AQICAQMC",
        ],
    )
    def test_meta_cookies_keep_their_case(self, check, value):
        assert check(f" {value} ") == value

    @pytest.mark.parametrize("check", [valid_fbc, valid_fbp])
    @pytest.mark.parametrize(
        "value",
        [
            "fb.1.1554763741.IwAR0",
            "fb.1.1554763741205.",
            "fb.1.1554763741205",
            "fb.12.1554763741205.IwAR0",
            "FB.1.1554763741205.a",
            "fb.1.1554763741205.Iw AR0",
            "fb.1.1554763741205.a.b.c",
            "fb.1.١٥٥٤٧٦٣٧٤١٢٠٥.a",
            "IwAR0",
            "",
            None,
            5,
        ],
    )
    def test_what_is_no_meta_cookie_is_dropped(self, check, value):
        assert check(value) is None

    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("123456789012345", "123456789012345"),
            (12345678901234567, "12345678901234567"),
            ("12345678901234", None),
            ("123456789012345678", None),
            ("l:123456789012345", None),
            ("012345678901234", None),
            (None, None),
        ],
    )
    def test_lead_id(self, value, expected):
        assert valid_lead_id(value) == expected

    @given(values)
    def test_no_validator_raises(self, value):
        for check in (valid_ip, valid_fbc, valid_fbp, valid_lead_id):
            found = check(value)
            assert found is None or check(found) == found
