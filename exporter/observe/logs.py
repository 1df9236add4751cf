"""Structured logs: one event a line, and no secret in any of them.

Our own events (structlog) and those of libraries (stdlib logging) take the same way: trace id, masking, rendering.
Everywhere else: `log = structlog.get_logger()`, then `log.info("cycle", job="node-cpu", series=12)`.
"""

import json
import logging
import os
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

from exporter.config.sections.service import LogConfig
from exporter.json_values import finite
from exporter.redact import MASK, masked

_SECRET_KEY = re.compile(r"passw|token|authorization|secret|webhook|api_?key|cookie|credential", re.IGNORECASE)
_BREAKS_A_LINE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _plain(value: object) -> Any:
    """Turn a value into what JSON has, masked: NaN becomes null, arrays lists, the rest its text."""
    if hasattr(value, "tolist"):  # numpy, without importing it
        value = value.tolist()
    match value:
        case None | bool() | int():
            return value
        case float():
            return finite(value)
        case Mapping():
            return {
                masked(str(key)): MASK if _SECRET_KEY.search(str(key)) and item else _plain(item)
                for key, item in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_plain(item) for item in value]
    return masked(str(value))


def _error(with_traceback: bool) -> Processor:
    """Make the processor that turns an exception into one short line; its traceback is for debugging only."""

    def process(_logger: object, _method: str, event: EventDict) -> EventDict:
        error = event.pop("exc_info", None)
        if error is True:
            error = sys.exc_info()
        if isinstance(error, tuple):
            error = error[1]
        if isinstance(error, BaseException):
            event.setdefault("error", " ".join(f"{type(error).__name__}: {error}".split()))
            if with_traceback:
                event["exception"] = "".join(traceback.format_exception(error))
        return event

    return process


def _trace(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Name the active span, so that a log line leads to its trace."""
    if api := sys.modules.get("opentelemetry.trace"):  # not imported here: tracing may be off or not installed
        context = api.get_current_span().get_span_context()
        if context.is_valid:
            event["trace_id"] = f"{context.trace_id:032x}"
            event["span_id"] = f"{context.span_id:016x}"
    return event


def _mask(_logger: object, _method: str, event: EventDict) -> EventDict:
    plain: EventDict = _plain(event)
    return plain


def _escape(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Escape what could break a line or turn text around; JSON does that by itself."""
    return {
        key: _BREAKS_A_LINE.sub(lambda match: ascii(match[0])[1:-1], value)
        if isinstance(value, str) and key != "exception"
        else value
        for key, value in event.items()
    }


def _json(_logger: object, _method: str, event: EventDict) -> str:
    first: dict[str, object] = {key: event.pop(key, "") for key in ("timestamp", "level", "event")}
    return json.dumps(first | dict(event), ensure_ascii=True, allow_nan=False)


class _Output:
    """Writes whole lines. A closed or full log never stops a cycle, and a signal handler may log at any time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.RLock()

    def msg(self, line: str) -> None:
        with self._lock, suppress(OSError, ValueError, RuntimeError):
            self._stream.write(line + "\n")
            self._stream.flush()

    log = debug = info = warning = error = critical = exception = msg


class _Libraries(logging.Handler):
    """Hands the records of uvicorn, urllib3, requests, sklearn … over to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = record.getMessage()
        except Exception:  # a library's broken format string
            text = str(record.msg)
        level = min(max(record.levelno // 10 * 10, logging.DEBUG), logging.CRITICAL)  # libraries invent levels
        structlog.get_logger().log(level, text, logger=record.name, exc_info=record.exc_info or None)


def configure(config: LogConfig, stream: TextIO | None = None) -> None:
    """Write logs as `config` says to `stream` (default: standard error). May be called again to change either.

    Libraries log from level warning on, and at level debug everything.
    """
    stream = sys.stderr if stream is None else stream
    level = logging.getLevelNamesMapping()[config.level.upper()]
    libraries = level if level <= logging.DEBUG else max(level, logging.WARNING)
    terminal = not stream.closed and stream.isatty()
    colors = terminal and not os.environ.get("NO_COLOR")  # https://no-color.org
    text = config.format == "console" or (config.format == "auto" and terminal)
    render = (_escape, structlog.dev.ConsoleRenderer(colors=colors)) if text else (_json,)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _error(with_traceback=level <= logging.DEBUG),
            _trace,
            _mask,
            *render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_names: _Output(stream),
        cache_logger_on_first_use=False,  # a reload may change the level of loggers already in use
    )
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _Libraries)]:
        root.removeHandler(handler)
    handler = _Libraries(libraries)  # on the handler too: uvicorn sets the level of its own loggers
    root.addHandler(handler)
    root.setLevel(libraries)
    logging.captureWarnings(True)
