"""The examples' agents do what their manifests and the demonstration promise."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pinfleet.agent import Agent, as_agent
from tests.unit.sdk.conftest import MakePod
from tests.unit.sdk.inline_pod import offer

EXAMPLES = Path(__file__).parents[3] / "examples"


def load(path: str) -> tuple[ModuleType, Agent]:
    """Import an example by its file."""
    spec = importlib.util.spec_from_file_location(path.replace("/", "_"), EXAMPLES / path / "agent.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, as_agent(module.agent, path)


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_quickstart(make_pod: MakePod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    """Each version takes fifty steps, each once, and its result carries its own constant."""
    trace = tmp_path / "trace"
    monkeypatch.setenv("QUICKSTART_TRACE", str(trace))
    monkeypatch.setenv("QUICKSTART_STEP_SECONDS", "0")
    _, agent = load(f"quickstart/{version}")
    result = await make_pod(agent).result_of("r1", {"topic": "tea"})
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 51))
    assert {(line["run"], line["epoch"], line["pod"]) for line in lines} == {("run", 1, "pod-1")}
    assert (result["version"], result["topic"]) == (version, "tea")


async def test_support(make_pod: MakePod, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The support agent parks between its two steps and ends on another pod; each step ran once."""
    trace = tmp_path / "trace"
    monkeypatch.setenv("SUPPORT_TRACE", str(trace))
    _, agent = load("support")
    first, second = make_pod(agent), make_pod(agent, uid="pod-2")
    ask = {"order": "o-1", "wait_seconds": 60}
    await first.offer("r1", offer(given=ask))
    (wait,) = (await first.until("r1", "parked")).waiting_for
    await second.offer("r1", offer(2, given=ask, timers_fired=(wait.id,)))
    listed = await second.until("r1", "succeeded")
    assert listed.outcome is not None
    assert json.loads(bytes(listed.outcome.result)) == {"answer": "order o-1 of 49.90 has been sent"}
    lines = [json.loads(line) for line in trace.read_text().splitlines()]
    assert [(line["step"], line["pod"]) for line in lines] == [("find_order#1", "pod-1"), ("answer#1", "pod-2")]


def test_refund() -> None:
    """The refund's own tests pass, as its author runs them, a kill at every commit among them."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "refund")]
    done = subprocess.run(command, cwd=EXAMPLES.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) > 20
