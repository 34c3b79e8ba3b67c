"""The schema registry, with a cache: what is registered under a subject never changes, only grows."""

from collections.abc import Collection, Mapping
from typing import Any, cast

import httpx2
from confluent_kafka.schema_registry import (
    ConfigCompatibilityLevel,
    Schema,
    SchemaRegistryClient,
    SchemaRegistryError,
    ServerConfig,
)

from schemas.definitions import Definition
from schemas.errors import ContractError, IncompatibleSchema, RegistryUnavailable

__all__ = ["Registry"]

#: What the client raises for an answer it did not expect, and for none.
FAILURES = (SchemaRegistryError, httpx2.HTTPError)
NOT_FOUND, CONFLICT, UNPROCESSABLE = 404, 409, 422
#: Subject, version and schema not found.
UNKNOWN_CODES = (40401, 40402, 40403)


class Registry:
    """Reads and registers the schemas of subjects. Safe to share between threads.

    Every method raises RegistryUnavailable where the registry does not answer.
    """

    def __init__(self, url: str, *, user: str = "", password: str = "", timeout_s: float = 5.0) -> None:
        conf: dict[str, Any] = {"url": url, "timeout": timeout_s, "max.retries": 1}
        if user:
            conf["basic.auth.user.info"] = f"{user}:{password}"
        self._client = SchemaRegistryClient(conf)
        self._known: dict[str, dict[int, str]] = {}

    def writer_schemas(self, subject: str, schema_ids: Collection[int]) -> Mapping[int, str]:
        """The text of those of these schemas that are registered under the subject, by id.

        An id that is not in the cache costs one look at the subject, however many such ids there are:
        a schema is registered before a record is written with it, so what is not there then is foreign.
        """
        known: Mapping[int, str] = self._known.get(subject, {})
        if not known or not known.keys() >= set(schema_ids):
            known = self.registered_schemas(subject)
        return {schema_id: known[schema_id] for schema_id in schema_ids if schema_id in known}

    def registered_schemas(self, subject: str) -> Mapping[int, str]:
        """The text of every schema that has been registered under the subject, by id."""
        known = self._known.setdefault(subject, {})
        known.update(self._versions(subject))
        if not known:
            # Or a registry that has lost its schemas would send every good record to the dead letters.
            raise RegistryUnavailable(f"no schema is registered under {subject}: run `spendloop topics apply`")
        return known

    def schema_id(self, subject: str, schema: Definition) -> int:
        """The id to write this schema's records with. Raises ContractError where it is not registered."""
        try:
            found = self._client.lookup_schema(subject, Schema(schema.text, "AVRO"))
        except FAILURES as error:
            if _is_unknown(error):
                raise ContractError(
                    f"version {schema.version} of {schema.name} is not registered under {subject}: "
                    "run `spendloop topics apply`"
                ) from error
            raise _translated(error) from error
        return cast(int, found.schema_id)

    def register(self, subject: str, versions: Collection[Definition]) -> int:
        """Register these versions in order, under FULL_TRANSITIVE. Returns how many were new.

        Raises IncompatibleSchema for one that does not read, or is not read by, one before it.
        """
        self._require_compatibility(subject)
        before = len(self._versions(subject))
        for schema in versions:
            try:
                self._client.register_schema(subject, Schema(schema.text, "AVRO"))
            except FAILURES as error:
                if _status(error) in (CONFLICT, UNPROCESSABLE):
                    raise IncompatibleSchema(
                        f"version {schema.version} of {schema.name} is refused under {subject}: {error}"
                    ) from error
                raise _translated(error) from error
        return len(self._versions(subject)) - before

    def ping(self) -> None:
        """One question, to see that the registry answers."""
        try:
            self._client.get_subjects()
        except FAILURES as error:
            raise _translated(error) from error

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _require_compatibility(self, subject: str) -> None:
        level = ServerConfig(compatibility=ConfigCompatibilityLevel.FULL_TRANSITIVE)
        try:
            self._client.set_config(subject, level)
        except FAILURES as error:
            raise _translated(error) from error

    def _versions(self, subject: str) -> dict[int, str]:
        try:
            versions = self._client.get_versions(subject)
            found = [self._client.get_version(subject, version) for version in versions]
        except FAILURES as error:
            if _is_unknown(error):
                return {}
            raise _translated(error) from error
        return {item.schema_id: item.schema.schema_str for item in found}


def _status(error: Exception) -> int | None:
    return error.http_status_code if isinstance(error, SchemaRegistryError) else None


def _is_unknown(error: Exception) -> bool:
    """Whether the registry itself says that a subject or schema is not there; a proxy's 404 has no such code."""
    return _status(error) == NOT_FOUND and getattr(error, "error_code", None) in UNKNOWN_CODES


def _translated(error: Exception) -> ContractError:
    """An outage as RegistryUnavailable; what the registry said of a request as ContractError."""
    status = _status(error)
    if status is None or status >= 500 or status in (NOT_FOUND, 408, 429):
        return RegistryUnavailable(f"the schema registry does not answer: {error}")
    return ContractError(f"the schema registry refused: {error}")
