"""Credentials come from a kubeconfig or the pod, and follow their files."""

import asyncio
import base64
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pinfleet_operator.kube.credentials import LoadedTokens, load_endpoint
from tests.fakes.clock import StepClock


def kubeconfig(folder: Path, user: dict[str, str], server: str = "http://127.0.0.1:1/") -> Path:
    """A kubeconfig with one user."""
    path = folder / "config"
    content = {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "it", "user": user}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def test_a_token_file_is_read_again_every_minute_and_after_a_401(tmp_path: Path) -> None:
    """A rotated token is used within a minute, and at once where the old one is refused."""
    token, clock = tmp_path / "token", StepClock()
    token.write_text("one")
    tokens = load_endpoint(clock, kubeconfig=str(kubeconfig(tmp_path, {"tokenFile": str(token)}))).tokens
    token.write_text("two")
    assert await tokens.authorization() == "Bearer one"
    clock.advance(61)
    assert await tokens.authorization() == "Bearer two"
    token.write_text("three")
    clock.advance(2)
    await tokens.reload()
    assert await tokens.authorization() == "Bearer three"


async def test_credentials_that_cannot_be_read_leave_the_old_ones(tmp_path: Path) -> None:
    """A file in the middle of its rotation stops nothing."""
    clock, path = StepClock(), kubeconfig(tmp_path, {"token": "one"})
    tokens = load_endpoint(clock, kubeconfig=str(path)).tokens
    path.write_text("]")
    clock.advance(61)
    assert await tokens.authorization() == "Bearer one"


async def test_many_refused_calls_read_the_credentials_once(tmp_path: Path) -> None:
    """A burst of 401s is one reading."""
    clock = StepClock()
    tokens = load_endpoint(clock, kubeconfig=str(kubeconfig(tmp_path, {"token": "one"}))).tokens
    assert isinstance(tokens, LoadedTokens)
    load, reads = tokens._load, []

    def counted() -> object:
        reads.append(1)
        return load()

    tokens._load = counted
    clock.advance(2)
    await asyncio.gather(*(tokens.reload() for _ in range(50)))
    assert len(reads) == 1


def test_the_argument_comes_before_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """KUBECONFIG is used where no path is given, also inside a pod."""
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    given = kubeconfig(tmp_path / "a", {"token": "t"}, "http://given:1")
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "b", {"token": "t"}, "http://environment:1")))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "in-cluster")
    assert load_endpoint(StepClock(), kubeconfig=str(given)).server == "http://given:1"
    assert load_endpoint(StepClock()).server == "http://environment:1"


def test_a_broken_authority_is_refused(tmp_path: Path) -> None:
    """A kubeconfig whose CA is no certificate does not fall back to the machine's own authorities."""
    path = kubeconfig(tmp_path, {"token": "t"}, "https://127.0.0.1:1")
    content = yaml.safe_load(path.read_text())
    content["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(b"none").decode()
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(OSError):  # noqa: PT011 - ssl has many
        load_endpoint(StepClock(), kubeconfig=str(path))


def test_importing_the_client_does_not_load_the_kubernetes_package() -> None:
    """It costs a second and 50 MiB; only loading credentials pays."""
    code = "import sys, pinfleet_operator.kube.client, pinfleet_operator.lease; sys.exit('kubernetes' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
