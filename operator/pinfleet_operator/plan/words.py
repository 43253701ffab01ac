"""Sentences that statuses share. Pure."""

from datetime import datetime
from typing import Final

from pinfleet_operator.api.fleet import Counts

MOST_CHARACTERS: Final = 4096  # of a message; the API server refuses a longer one


def rfc3339(at: datetime) -> str:
    """A time as Kubernetes writes it."""
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def runs_words(counts: Counts) -> str:
    """How many runs are open, and which is the oldest."""
    words = count_words(counts.open, "run")
    if counts.oldest_open_run is not None and counts.oldest_open_since is not None:
        words += f", oldest {counts.oldest_open_run} since {rfc3339(counts.oldest_open_since)}"
    return words


def count_words(number: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def cut(text: str) -> str:
    """A message that the API server takes."""
    return text if len(text) <= MOST_CHARACTERS else f"{text[: MOST_CHARACTERS - 3]}..."
