"""Sets up structlog: JSON lines, or readable ones on a terminal; never a secret, an input or a result."""

import logging
import sys

import structlog


def configure(*, is_verbose: bool) -> None:
    """Send every log line to stderr.

    Args:
        is_verbose: debug too.
    """
    level = logging.DEBUG if is_verbose else logging.INFO
    is_terminal = sys.stderr.isatty()
    renderer = structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
