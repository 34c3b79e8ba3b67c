"""Read and write Java property files of the simple kind: `key=value` lines and `#` comments."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["format_properties", "parse_properties"]


def parse_properties(text: str) -> dict[str, str]:
    """The keys and values of a property file."""
    lines = (line.strip() for line in text.splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in pairs}


def format_properties(properties: Mapping[str, str]) -> str:
    """The text of a property file."""
    return "".join(f"{key}={value}\n" for key, value in properties.items())
