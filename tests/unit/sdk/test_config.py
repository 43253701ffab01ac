"""The pod's environment and command: what is missing or wrong is named, with who sets it."""

import json
import logging
from pathlib import Path

import pytest

from pinfleet import cli, config, logs, rules
from pinfleet.cli import serve
from pinfleet.errors import BadConfiguration, BadDeclaration
from pinfleet.journal.opening import UrlFile

GOOD = {
    "PINFLEET_FLEET": "f",
    "PINFLEET_VERSION": "v1",
    "PINFLEET_POD_UID": "u",
    "PINFLEET_STATE_URL": "sqlite:////var/lib/pinfleet/state/journal.db",
    "PINFLEET_TOKEN_FILE": "/t",
    "PINFLEET_PORT": "8080",
    "PINFLEET_RUNS_PER_POD": "10",
}


@pytest.mark.parametrize(
    "url", [GOOD["PINFLEET_STATE_URL"], "/var/lib/pinfleet/state/journal.db", "postgresql://u:p@h/d"]
)
def test_state_url(url: str) -> None:
    """The journal's place is a sqlite URL, a bare absolute path, or a URL of PostgreSQL."""
    assert config.from_environment(GOOD | {"PINFLEET_STATE_URL": url}).state == url


def test_state_url_file() -> None:
    """A file with the URL goes before the URL: it comes from a Secret."""
    found = config.from_environment(GOOD | {"PINFLEET_STATE_URL_FILE": "/s/url"})
    assert found.state == UrlFile(Path("/s/url"))


def test_retention() -> None:
    """Nothing is pruned unless a retention is given."""
    assert config.from_environment(GOOD).retention_seconds is None
    assert config.from_environment(GOOD | {config.RETENTION: "3600"}).retention_seconds == 3600


def test_defaults() -> None:
    """What the environment does not say has the documented default."""
    found = config.from_environment(GOOD)
    assert (found.park_after_seconds, found.cancel_grace_seconds, found.schema) == (10, 30, None)
    assert found.host == "0.0.0.0"  # noqa: S104 - all addresses of the pod


@pytest.mark.parametrize("name", sorted(GOOD))
def test_missing(name: str) -> None:
    """A variable that is missing is named, with who sets it."""
    with pytest.raises(BadConfiguration, match=rf"{name} is not set: the operator sets it"):
        config.from_environment({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PINFLEET_PORT", "http"),
        ("PINFLEET_PORT", "70000"),
        ("PINFLEET_RUNS_PER_POD", "0"),
        ("PINFLEET_RUNS_PER_POD", "-1"),
        ("PINFLEET_PARK_AFTER_SECONDS", "nan"),
        ("PINFLEET_CANCEL_GRACE_SECONDS", "-1"),
        ("PINFLEET_STATE_URL", "mysql://x"),
        ("PINFLEET_STATE_URL", "state/journal.db"),
        ("PINFLEET_SCHEMA_VERSION", "one"),
    ],
)
def test_wrong(name: str, value: str) -> None:
    """A value that cannot be used is named."""
    with pytest.raises(BadConfiguration, match=name):
        config.from_environment(GOOD | {name: value})


def test_switches() -> None:
    """Rules are on but for those that are named; an unknown name is a mistake, not ignored."""
    assert rules.from_environment({}).off == ()
    switched = rules.from_environment({rules.ENVIRONMENT: "fence, commit-before-report"})
    assert set(switched.off) == {"fence", "commit-before-report"}
    with pytest.raises(BadConfiguration, match="fense"):
        rules.from_environment({rules.ENVIRONMENT: "fense"})


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("agent", "is not module:attribute"),
        ("no_such:agent", "no module 'no_such'"),
        ("json:dumps", "no pinfleet.Agent"),
    ],
)
def test_load(target: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that cannot be loaded is named."""
    monkeypatch.syspath_prepend(".")
    with pytest.raises(BadDeclaration, match=why):
        serve.load(target)


def test_command_without_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what is missing in one line, and ends with 2."""
    for name in GOOD:
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["serve", "agent:agent"]) == 2
    assert capsys.readouterr().err.startswith("pinfleet-agent: PINFLEET_FLEET is not set")


def test_log_lines() -> None:
    """A log line is one JSON object with its values as keys."""
    record = logging.makeLogRecord({"msg": "run starts", "levelname": "INFO", "name": "pinfleet.run", "run": "a\nb"})
    line = logs.JsonLines(pod="p").format(record)
    assert "\n" not in line
    assert {"event": "run starts", "run": "a\nb", "pod": "p", "level": "info"}.items() <= json.loads(line).items()
