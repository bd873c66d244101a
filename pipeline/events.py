"""What happens in a run, for whoever gathers logs: events with fields, one JSON object a line, on standard error."""

import logging
import os
import sys
import unicodedata
from typing import Any

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor

from recast.pipeline import urls

WANTED = "RECAST_LOG"
"""In the environment of a driver: `json`, for events in place of the lines that people read."""
_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""Characters that change the direction of writing: a name may be shown as another one by them."""


def _without_secrets(_logger: Any, _method: str, event: EventDict) -> EventDict:
    return {name: urls.shown(value) for name, value in event.items()}


_PROCESSORS: tuple[Processor, ...] = (
    _without_secrets,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    structlog.processors.JSONRenderer(ensure_ascii=True),  # for keys that are not UTF-8
)


def log(**fields: Any) -> FilteringBoundLogger:
    """A worker's logger, whose lines all carry these fields beside `event`, `level` and `time`.

    They go to Ray's own files, `logs/worker-*.err` of its session, which its dashboard shows and log shippers read.
    """
    return _logger(logging.INFO, fields)


def wanted() -> bool:
    """Whether a driver says what happens in events, rather than in lines for people."""
    return os.environ.get(WANTED) == "json"


def driver_log(**fields: Any) -> FilteringBoundLogger:
    """The logger of the process that a person started; silent unless events are wanted there."""
    return _logger(logging.INFO if wanted() else logging.CRITICAL, fields)


def say(sentence: str, **fields: Any) -> None:
    """Something a person must know, on standard error: as it is, or as an event where events are wanted."""
    if wanted():
        driver_log().warning("said", sentence=sentence, **fields)
    else:
        print(printable(urls.without_secrets(sentence)), file=sys.stderr, flush=True)


def show(line: str) -> None:
    """A line of a command's result, on standard output."""
    print(printable(urls.without_secrets(line)), flush=True)


def printable(text: str) -> str:
    """A line as a terminal may have it: control characters, and what turns the direction of writing, as escapes.

    Keys, paths and errors come from strangers' files, and a terminal obeys what it is sent.
    """
    return "".join(_escaped(c) if _commands(c) else c for c in text)


def _commands(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or character in _TURNING


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()


def _logger(level: int, fields: dict[str, Any]) -> FilteringBoundLogger:
    """A logger with settings of its own: whoever else uses structlog in this process keeps their settings."""
    return structlog.wrap_logger(
        structlog.WriteLogger(sys.stderr),
        processors=_PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        **fields,
    ).bind()
