import re
import tomllib
from pathlib import Path

import pytest
from pydantic import BaseModel

from streams.settings import Settings, SettingsError, load_settings

SETTINGS_PAGE = Path(__file__).parents[2] / "docs" / "settings.md"
TOML = """
namespace = "eu."
[kafka]
bootstrap_servers = "broker:9092"
security_protocol = "SASL_SSL"
sasl_username = "spendloop"
sasl_password = "kafka-secret"
[registry]
url = "http://registry:8081"
[redis]
url = "redis://:redis-secret@redis:6379/0"
[clickhouse]
url = "https://clickhouse:8443"
password = "clickhouse-secret"
[accounts.acme]
lookback_d = 7
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SPENDLOOP_DIR", "SPENDLOOP_SETTINGS", "SPENDLOOP_NAMESPACE", "SPENDLOOP_CLICKHOUSE__DATABASE"):
        monkeypatch.delenv(name, raising=False)


def from_file(text: str = TOML) -> Settings:
    Path("spendloop.toml").write_text(text)
    return load_settings()


def test_file() -> None:
    settings = from_file()
    assert settings.kafka.client()["sasl.password"] == "kafka-secret"
    assert settings.group("loader") == "eu.spendloop-loader"
    assert settings.retention().lookback_of("acme") == 7 * 86_400
    assert settings.retention().lookback_of("other") == 30 * 86_400


def test_what_the_models_of_credit_go_by() -> None:
    rules = from_file().credit_rules()
    assert (rules.half_life_s, rules.direct_channels) == (7 * 86_400, {"direct"})
    text = '[attribution]\ntime_decay_half_life_d = 0.5\ndirect_channels = ["none", ""]\n'
    rules = from_file(TOML + text).credit_rules()
    assert (rules.half_life_s, rules.direct_channels) == (43_200, {"none", ""})


def test_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDLOOP_KAFKA__BOOTSTRAP_SERVERS", "other:9092")
    settings = from_file()
    assert settings.kafka.bootstrap_servers == "other:9092"
    assert settings.kafka.sasl_username == "spendloop"


def test_secrets_are_masked_wherever_settings_are_printed() -> None:
    settings = from_file()
    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert "secret" not in text


def test_the_fingerprint_changes_with_a_setting() -> None:
    first = from_file().fingerprint()
    assert from_file(TOML.replace("lookback_d = 7", "lookback_d = 8")).fingerprint() != first
    assert from_file().fingerprint() == first


def test_everything_missing_is_named() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings()
    for name in ("kafka", "registry", "redis", "clickhouse", "spendloop up"):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ('[kafak]\nbootstrap_servers = "x"', "kafak"),
        ("[loader]\nblok_rows = 5", "loader.blok_rows"),
        ("[loader]\nblock_rows = 0", "loader.block_rows"),
        ("[attribution]\nlookback_d = 0", "attribution.lookback_d"),
        ("[attribution]\ntime_decay_half_life_d = 0", "attribution.time_decay_half_life_d"),
        ("[attribution]\ntime_decay_half_life_d = nan", "attribution.time_decay_half_life_d"),
        ("[accounts.globex]\nlookback_d = 1000", "accounts.globex.lookback_d"),
        ("not toml", "spendloop.toml"),
    ],
)
def test_what_is_wrong_is_named(wrong: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        from_file(TOML + "\n" + wrong)


def test_a_named_file_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDLOOP_SETTINGS", "nowhere.toml")
    with pytest.raises(SettingsError, match="nowhere"):
        load_settings()


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ('url = "http://registry:8081"', 'url = "http://me:hush-hush@registry:8081"'),
        ('url = "https://clickhouse:8443"', 'url = "https://me:hush-hush@clickhouse:8443"'),
        ('url = "redis://:redis-secret@redis:6379/0"', 'url = "redis://:hush-hush/x@redis:6379/0"'),
    ],
)
def test_credentials_in_addresses_are_refused_and_not_repeated(right: str, wrong: str) -> None:
    with pytest.raises(SettingsError) as caught:
        from_file(TOML.replace(right, wrong))
    assert "hush" not in str(caught.value)


def test_an_age_for_one_topic_leaves_the_others() -> None:
    settings = from_file(TOML + "[events.max_age_d]\nclicks = 10\n")
    assert settings.events.max_age_d["clicks"] == 10
    assert settings.event_time_bounds("crm-events") is not None
    with pytest.raises(SettingsError, match="clikcs"):
        from_file(TOML + "[events.max_age_d]\nclikcs = 10\n")


def documented() -> str:
    [text] = re.findall(r"```toml\n(.*?)```", SETTINGS_PAGE.read_text(), re.DOTALL)
    return text


def test_the_documentation_names_every_setting_there_is() -> None:
    page = tomllib.loads(documented())
    assert page.keys() == Settings.model_fields.keys()
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            assert page[name].keys() == field.annotation.model_fields.keys(), name


def test_the_documentation_gives_the_defaults() -> None:
    page = from_file(documented())
    for section in (page.events, page.attribution, page.loader, page.metrics):
        assert section == type(section)()
