"""Sets up structlog: JSON lines, or readable ones on a terminal; never a secret, an input or a result."""

import logging
import sys
from collections.abc import Callable

import msgspec
import structlog


def configure(*, is_verbose: bool) -> None:
    """Send every log line to stderr.

    Args:
        is_verbose: debug too.
    """
    level = logging.DEBUG if is_verbose else logging.INFO
    is_terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer(_encode)
    to_terminal, to_file = structlog.PrintLoggerFactory(sys.stderr), structlog.BytesLoggerFactory(sys.stderr.buffer)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=to_terminal if is_terminal else to_file,
        cache_logger_on_first_use=True,  # with msgspec, half of what a line costs
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")


def _encode(event: object, default: Callable[[object], object]) -> bytes:
    return msgspec.json.encode(event, enc_hook=default)
