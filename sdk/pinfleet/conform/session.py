"""Asks a container every check in order, and says each answer in a line."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

from pinfleet.conform.checks import CHECKS, Inputs, recorded_end
from pinfleet.conform.pod import Broken, Pod
from pinfleet.errors import BadConfiguration


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of whom.

    Args:
        url: Where the container listens.
        token: A bearer token of its token file.
        uid: Its PINFLEET_POD_UID.
        version: Its PINFLEET_VERSION.
        short: JSON text of an input whose run ends by itself within seconds.
        long: JSON text of an input whose run goes on until it is ended.
        patience: Seconds to wait for what must happen.
        has_journal: Whether it records ends; one without a journal serves runs at least once.
    """

    url: str
    token: str
    uid: str
    version: str
    short: str = "null"
    long: str = "null"
    patience: float = 30.0
    has_journal: bool = True


def conform(question: Question, out: TextIO = sys.stdout) -> list[str]:
    """Ask everything; return the names of the checks that are broken.

    Raises:
        BadConfiguration: An input is no JSON.
    """
    asked = Pod(
        question.url, token=question.token, uid=question.uid, version=question.version, patience=question.patience
    )
    inputs = Inputs(_json("--short", question.short), _json("--long", question.long))
    broken: list[str] = []
    for check in CHECKS:
        if check is recorded_end and not question.has_journal:
            _say(out, "not asked", check, "a container without a journal serves runs at least once")
            continue
        try:
            check(asked, inputs)
        except (Broken, KeyError, TypeError) as err:
            broken.append(check.__name__)
            _say(out, "broken", check, str(err) if isinstance(err, Broken) else f"an answer lacks a field: {err!r}")
        else:
            _say(out, "ok", check)
    out.write(f"{len(CHECKS) - len(broken)} of {len(CHECKS)} hold\n" if broken else "every sentence holds\n")
    return broken


def _say(out: TextIO, verdict: str, check: Callable[..., None], why: str = "") -> None:
    sentence = (check.__doc__ or "").strip()
    out.write(f"{verdict:9} {check.__name__}: {sentence}\n")
    if why:
        out.write(f"          {why}\n")
    out.flush()


def _json(option: str, text: str) -> object:
    try:
        found: object = json.loads(text)
    except ValueError as err:
        raise BadConfiguration(f"{option} must be JSON, found {text!r}: {err}") from err
    return found
