"""One typed settings file, with environment overrides and the local stack as the fallback.

Sources, the first that has a value wins:

1. environment: SPENDLOOP_<SECTION>__<NAME>, such as SPENDLOOP_KAFKA__BOOTSTRAP_SERVERS
2. spendloop.toml in the working directory, or the file that SPENDLOOP_SETTINGS names
3. the addresses of the local stack in .spendloop, or in the directory that SPENDLOOP_DIR names
"""

import hashlib
import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from deploy.local.state import DEFAULT_DIRECTORY, read_state
from processors.attribution.credit import CreditRules
from processors.attribution.facts import Retention
from processors.attribution.use import Thresholds
from schemas.validation import DAY_MS, EventTimeBounds

__all__ = ["Settings", "SettingsError", "load_settings", "stack_directory"]

DAY_S = 86_400
MAX_AGE_D = {"clicks": 90, "conversions": 90, "crm-events": 1_100, "ad-performance": 1_100}


class SettingsError(Exception):
    """The settings cannot be used; the message says which, and what they should be."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class KafkaSettings(_Section):
    """Where the brokers are and who we are to them."""

    bootstrap_servers: str
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str = ""
    sasl_password: SecretStr = SecretStr("")
    ssl_ca_file: str = ""
    partitions: int = Field(4, ge=1, description="Of a topic at its creation; fixed from then on.")
    replication_factor: int = Field(1, ge=1)
    group_instance_id: str = Field(
        "", description="Unlike in any other process of a role: it keeps its partitions over a restart."
    )

    def client(self) -> dict[str, Any]:
        """Settings of a librdkafka client."""
        conf: dict[str, Any] = {
            "bootstrap.servers": self.bootstrap_servers,
            "security.protocol": self.security_protocol,
            "logger": logging.getLogger("librdkafka"),
        }
        if self.ssl_ca_file:
            conf["ssl.ca.location"] = self.ssl_ca_file
        if self.security_protocol.startswith("SASL"):
            conf["sasl.mechanism"] = self.sasl_mechanism
            conf["sasl.username"] = self.sasl_username
            conf["sasl.password"] = self.sasl_password.get_secret_value()
        return conf


def _without_credentials(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password:
        raise ValueError("credentials belong in user and password, where they are masked")
    return url


def _readable_redis_url(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        readable = parts.scheme in ("redis", "rediss", "unix") and (parts.port is None or parts.port > 0)
    except ValueError:
        readable = False
    if not readable:
        raise ValueError("not redis://user:password@host:port/db; percent-encode the password")
    return url


PlainUrl = Annotated[str, AfterValidator(_without_credentials)]
RedisUrl = Annotated[SecretStr, AfterValidator(_readable_redis_url)]


class RegistrySettings(_Section):
    """The schema registry, as Confluent's clients address it."""

    url: PlainUrl
    user: str = ""
    password: SecretStr = SecretStr("")


class RedisSettings(_Section):
    """Where the state is. The URL may hold a password."""

    url: RedisUrl
    shards: int = Field(1, ge=1, description="Hash tags in use; fixed for the life of a deployment.")


class ClickHouseSettings(_Section):
    """Where analysts query."""

    url: PlainUrl
    database: str = Field("spendloop", pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    user: str = "default"
    password: SecretStr = SecretStr("")


class EventSettings(_Section):
    """How far an event's own time may lie from Kafka's. What is outside goes to the dead letters."""

    max_ahead_s: int = Field(3_600, ge=0, description="Clocks of browsers run ahead.")
    max_age_d: dict[str, int] = Field(default=MAX_AGE_D, description="By topic; what is not given stays.")

    @field_validator("max_age_d")
    @classmethod
    def _complete(cls, given: dict[str, int]) -> dict[str, int]:
        if unknown := given.keys() - MAX_AGE_D.keys():
            raise ValueError(f"no input topic {', '.join(sorted(unknown))}")
        return MAX_AGE_D | given


class AccountSettings(_Section):
    """What differs for one tenant."""

    lookback_d: int | None = Field(None, ge=1, le=90)


class AttributionSettings(_Section):
    """Which clicks a conversion is attributed to, how long both are held, and what the models of credit go by."""

    lookback_d: int = Field(30, ge=1, le=90)
    lateness_d: int = Field(
        21, ge=1, description="The slowest record, the longest outage and the oldest replay, together."
    )
    deal_memory_d: int = Field(
        400, ge=1, description="How long a deal is known after something was heard of it: it may close late."
    )
    match_on: list[
        Literal["click_id", "fbclid", "external_id_sha256", "email_sha256", "phone_sha256", "visitor_id"]
    ] = Field(
        ["click_id", "fbclid", "external_id_sha256", "email_sha256", "phone_sha256", "visitor_id"],
        min_length=1,
        description="What a conversion finds its clicks by; each costs the state a copy of every click.",
    )
    time_decay_half_life_d: float = Field(
        7.0, ge=0.01, le=365, description="How much older a touchpoint is that time_decay gives half as much."
    )
    direct_channels: list[str] = Field(
        ["direct"], description='What last_non_direct passes over; "" is a click without a channel.'
    )


class MatchingSettings(_Section):
    """How conversions that no identifier matches are matched by evidence. It takes a model of the tenant's."""

    settle_after_s: list[int] = Field(
        [3_600, 90_000],
        description="When it is done, and done again: seconds after a conversion arrived. What comes later than the "
        "last counts for nothing. Empty turns it off, and clicks are then held without what is compared.",
    )
    reporting_confidence: float = Field(0.5, ge=0, le=1, description="How sure the ad has to be to get credit.")
    optimisation_confidence: float = Field(0.9, ge=0, le=1, description="The same for decisions to go by it.")
    evaluated_share: float = Field(
        0.05, ge=0, le=1, description="Of the conversions that an identifier matches: matched once more without it."
    )
    least_margin: float = Field(0.0, ge=0, le=1, description="Of the likeliest person over the next, for either.")
    learn_from_d: int = Field(30, ge=1, le=30, description="Clicks and conversions of so many days before.")
    most_conversions: int = Field(20_000, ge=100, description="Of a tenant, drawn by hash where there are more.")
    half_life_d: float = Field(30.0, gt=0, description="What was learned so long ago counts for half.")
    learn_again_after_h: float = Field(12.0, ge=0, description="A tenant learned more recently is left alone.")
    in_force_after_s: int = Field(600, ge=0, description="From publishing a model until conversions use it.")


class CreditSettings(_Section):
    """How often the models of channels are computed, and of which journeys."""

    interval_s: float = Field(3_600.0, gt=0, description="Between the times they are computed for.")
    period_d: int = Field(30, ge=1, le=400, description="Journeys that ended so many days before count.")


class TotalsSettings(_Section):
    """How often the totals of ads are estimated, of which conversions, and when figures and alarms are given."""

    interval_s: float = Field(21_600.0, gt=0, description="Between the times they are estimated for.")
    period_d: int = Field(30, ge=2, le=30, description="Clicks and conversions of so many days count.")
    event_names: list[str] = Field([], description="Of the conversions that count; empty for all.")
    conversions_at_once: int = Field(100_000, ge=100, description="In memory; more take further passes.")
    fewest_conversions: int = Field(30, ge=0, description="Of an ad, or its day, to give more than a range.")
    alarm_disagreement: float = Field(0.08, ge=0, description="Of the account totals, as a share of their median.")
    alarm_errors: float = Field(3.0, ge=0, description="Of the disagreement's standard errors, for an alarm.")


class LoaderSettings(_Section):
    """Sizes of ClickHouse blocks."""

    block_rows: int = Field(65_536, ge=1)
    block_bytes: int = Field(32 << 20, ge=1, description="Of values; what a partition holds in memory, about.")
    flush_interval_s: float = Field(1.0, gt=0)


class MetricsSettings(_Section):
    """Where a role serves /metrics. Port 0 takes a free one and says which in the log."""

    host: str = "127.0.0.1"
    port: int = Field(0, ge=0, le=65_535)


class Settings(BaseSettings):
    """Everything that can be set. Numbers carry their units in their names."""

    model_config = SettingsConfigDict(env_prefix="SPENDLOOP_", env_nested_delimiter="__", extra="forbid", frozen=True)

    namespace: str = Field(
        "", pattern=r"^[a-z0-9._-]*$", description="In front of topics, groups and keys of a deployment."
    )
    kafka: KafkaSettings
    registry: RegistrySettings
    redis: RedisSettings
    clickhouse: ClickHouseSettings
    events: EventSettings = EventSettings()
    attribution: AttributionSettings = AttributionSettings()
    matching: MatchingSettings = MatchingSettings()
    credit: CreditSettings = CreditSettings()
    totals: TotalsSettings = TotalsSettings()
    loader: LoaderSettings = LoaderSettings()
    metrics: MetricsSettings = MetricsSettings()
    accounts: dict[str, AccountSettings] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment, then the file, then the local stack."""
        return (
            env_settings,
            TomlConfigSettingsSource(settings_cls, settings_file()),
            _LocalStackSource(settings_cls),
        )

    def group(self, role: str) -> str:
        """The consumer group of a role."""
        return f"{self.namespace}spendloop-{role}"

    def event_time_bounds(self, contract: str) -> EventTimeBounds | None:
        """How far the event times of a topic may lie from the ingest time; None for our own outputs."""
        age_d = self.events.max_age_d.get(contract)
        return EventTimeBounds(age_d * DAY_MS, self.events.max_ahead_s * 1000) if age_d is not None else None

    def retention(self) -> Retention:
        """Lookback windows by account."""
        by_account = {name: a.lookback_d * DAY_S for name, a in self.accounts.items() if a.lookback_d}
        attribution = self.attribution
        return Retention(
            attribution.lookback_d * DAY_S,
            attribution.lateness_d * DAY_S,
            by_account,
            deal_memory_s=attribution.deal_memory_d * DAY_S,
        )

    def credit_rules(self) -> CreditRules:
        """What the models of credit go by."""
        attribution = self.attribution
        return CreditRules(attribution.time_decay_half_life_d * DAY_S, frozenset(attribution.direct_channels))

    def thresholds(self) -> Thresholds:
        """What a match by evidence is sure enough for."""
        matching = self.matching
        return Thresholds(matching.reporting_confidence, matching.optimisation_confidence, matching.least_margin)

    def fingerprint(self) -> str:
        """Twelve hex digits that change with any setting but a secret."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:12]


class _LocalStackSource(PydanticBaseSettingsSource):
    """The addresses of the stack that `spendloop up` started."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        addresses = read_state(stack_directory()).addresses()
        if not addresses:
            return {}
        return {
            "kafka": {"bootstrap_servers": addresses["kafka"]},
            "registry": {"url": addresses["registry"]},
            "redis": {"url": addresses["redis"]},
            "clickhouse": {"url": addresses["clickhouse"]},
        }


def stack_directory() -> Path:
    """Where the local stack keeps its data and its state file."""
    return Path(os.environ.get("SPENDLOOP_DIR", DEFAULT_DIRECTORY))


def settings_file() -> Path:
    """The settings file, which need not exist."""
    return Path(os.environ.get("SPENDLOOP_SETTINGS", "spendloop.toml"))


def load_settings() -> Settings:
    """The settings in force. Raises SettingsError, naming every one that is wrong or missing."""
    named = os.environ.get("SPENDLOOP_SETTINGS")
    if named and not Path(named).is_file():
        raise SettingsError(f"SPENDLOOP_SETTINGS names {named}, which is not a file")
    try:
        return Settings()
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        hint = "start a local stack with `spendloop up`, or give addresses in spendloop.toml"
        raise SettingsError("\n".join(["the settings are not usable:", *lines, hint])) from None
    except ValueError as error:
        raise SettingsError(f"{settings_file()}: {error}") from error
