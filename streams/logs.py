"""Logging of every command and role: lines for people, or JSON for machines with `--log json`."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal

__all__ = ["LogFormat", "logging_config", "set_up_logging"]

LogFormat = Literal["text", "json"]
#: What libraries say at INFO is about themselves.
QUIET = (
    "httpx2",
    "httpcore",
    "aiokafka",
    "faust",
    "mode",
    "kafka",
    "urllib3",
    "clickhouse_connect",
    "asyncio",
)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the fields given as `extra={"fields": {...}}`."""

    def format(self, record: logging.LogRecord) -> str:
        """The line for a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def logging_config(log_format: LogFormat, level: str = "INFO") -> dict[str, Any]:
    """For logging.config.dictConfig, and for Faust, which configures logging itself."""
    formatters: dict[str, Any] = {
        "text": {"format": "%(asctime)s %(levelname)-7s %(name)s: %(message)s"},
        "json": {"()": JsonFormatter},
    }
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"chosen": formatters[log_format]},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "chosen", "stream": sys.stderr}},
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {name: {"level": "WARNING"} for name in QUIET},
    }


def set_up_logging(log_format: LogFormat, level: str = "INFO") -> None:
    """Configure logging of this process."""
    from logging.config import dictConfig

    dictConfig(logging_config(log_format, level))
