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
    "librdkafka",
    "urllib3",
    "asyncio",
)
#: What these say at all is said by us.
SILENT = ("clickhouse_connect",)


class SaysOnce(logging.Filter):
    """Lets through once what a library repeats, until it has not said it for a minute: an outage is a line of each."""

    SILENCE_S = 60.0
    MAX_REMEMBERED = 1_000

    def __init__(self) -> None:
        super().__init__()
        self._said_at: dict[tuple[Any, ...], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is to be seen."""
        if record.name.partition(".")[0] not in QUIET:
            return True
        first = record.args[0] if isinstance(record.args, tuple) and record.args else None
        said = (record.name, record.levelno, str(record.msg), str(first))
        before = self._said_at.get(said)
        if len(self._said_at) >= self.MAX_REMEMBERED:
            self._said_at.clear()
        self._said_at[said] = record.created
        return before is None or record.created - before > self.SILENCE_S


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
        "filters": {"once": {"()": SaysOnce}},
        "handlers": {
            "stderr": {
                "class": "logging.StreamHandler",
                "formatter": "chosen",
                "filters": ["once"],
                "stream": sys.stderr,
            }
        },
        "root": {"level": level, "handlers": ["stderr"]},
        "loggers": {name: {"level": "WARNING"} for name in QUIET} | {name: {"level": "CRITICAL"} for name in SILENT},
    }


def set_up_logging(log_format: LogFormat, level: str = "INFO") -> None:
    """Configure logging of this process."""
    from logging.config import dictConfig

    dictConfig(logging_config(log_format, level))
