import logging
from typing import Any

import pytest

from streams.logs import SaysOnce


def record(name: str, created: float, message: str, *args: Any) -> logging.LogRecord:
    made = logging.LogRecord(name, logging.ERROR, "", 0, message, args, None)
    made.created = created
    return made


@pytest.mark.parametrize(
    ("lines", "seen"),
    [
        ([("aiokafka", t, "gone: %s", 1) for t in (0, 1, 50, 100)], [True, False, False, False]),
        ([("aiokafka.client", t, "gone") for t in (0, 10, 71)], [True, False, True]),
        ([("librdkafka", 0, "%s [%s]", "FAIL", "a"), ("librdkafka", 1, "%s [%s]", "GETPID", "a")], [True, True]),
        ([("librdkafka", 0, "%s [%s]", "FAIL", "a"), ("librdkafka", 1, "%s [%s]", "FAIL", "b")], [True, False]),
        ([("streams.patience", t, "waiting") for t in (0, 1, 2)], [True, True, True]),
    ],
)
def test_what_libraries_repeat_is_said_once(lines: list[Any], seen: list[bool]) -> None:
    once = SaysOnce()
    assert [once.filter(record(*line)) for line in lines] == seen
