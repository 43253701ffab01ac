"""`pinfleet-agent run`: a run at a terminal that survives the terminal."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pinfleet import cli
from pinfleet.cli.run import load
from pinfleet.errors import BadDeclaration

APP = """
import time
from pathlib import Path
import pinfleet

agent = pinfleet.Agent("count")

@agent.step
def work(n: int) -> int:
    with Path("trace").open("a") as file:
        file.write(f"{n}\\n")
    if n == 3 and not Path("go").exists():
        Path("at-three").touch()
        time.sleep(60)
    return n * FACTOR

@agent.main
async def main(ctx: pinfleet.Ctx, steps: int) -> int:
    total = 0
    for n in range(steps):
        total += await work(n)
    await ctx.sleep(3600)
    return total
"""
PATIENCE_SECONDS = 60.0


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an app."""
    (tmp_path / "app.py").write_text(APP.replace("FACTOR", "1"))
    return tmp_path


def started(folder: Path, *words: str) -> "subprocess.Popen[str]":
    """Start the command in a folder."""
    command = [sys.executable, "-m", "pinfleet.cli", "run", "app.py", "--input", "5", "--skip-timers", *words]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def stuck(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A session whose run is inside of its fourth step."""
    process = started(folder)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (folder / "at-three").exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.02)
    (folder / "go").touch()
    yield process
    process.kill()
    process.communicate()


def ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """The exit code and all that was said."""
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, said


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT])
def test_it_goes_on_where_it_stopped(folder: Path, stuck: "subprocess.Popen[str]", by: signal.Signals) -> None:
    """A session that is killed or interrupted leaves the run open; the same command goes on, no recorded step runs."""
    stuck.send_signal(by)
    stuck.wait(PATIENCE_SECONDS)
    code, said = ended(started(folder))
    assert (code, (folder / "trace").read_text().split()) == (0, ["0", "1", "2", "3", "3", "4"]), said
    assert "goes on after 3 steps" in said
    assert 'succeeded: {"result":10}' in said
    code, said = ended(started(folder))
    assert code == 0
    assert "has ended before" in said


def test_changed_code_is_refused(folder: Path, stuck: "subprocess.Popen[str]") -> None:
    """An open run that other code recorded is refused by name, and goes on with it only if told so."""
    stuck.kill()
    stuck.wait(PATIENCE_SECONDS)
    (folder / "app.py").write_text(APP.replace("FACTOR", "10"))
    process = subprocess.run(
        [sys.executable, "-m", "pinfleet.cli", "run", "app.py", "--input", "5"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=PATIENCE_SECONDS,
    )  # fmt: skip
    assert process.returncode == 2
    assert "run local recorded 3 steps with other code than this" in process.stderr
    code, said = ended(started(folder, "--changed-code"))
    assert (code, (folder / "trace").read_text().split()) == (0, ["0", "1", "2", "3", "3", "4"]), said
    assert 'succeeded: {"result":73}' in said


def test_reload_starts_again_and_refuses_the_open_run(folder: Path) -> None:
    """With --reload a saved file starts the command again; the open run stays with its code, another one starts."""
    process = started(folder, "--reload")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (folder / "at-three").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (folder / "go").touch()
    (folder / "app.py").write_text(APP.replace("FACTOR", "10"))
    code, said = ended(process)
    assert code == 0, said
    assert "changed: app.py; starting again" in said
    assert "run local recorded 3 steps with other code than this" in said
    assert 'local-2: succeeded: {"result":100}' in said


def test_an_input_that_is_no_json_is_said(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no JSON is refused before anything starts."""
    assert cli.main(["run", str(folder / "app.py"), "--input", "{"]) == 2
    assert "--input must be JSON" in capsys.readouterr().err


def test_a_file_without_an_agent_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is missing, and one that declares no agent, are refused by name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "without_agents.py").write_text("x = 1\n")
    with pytest.raises(BadDeclaration, match="has 0 agents"):
        load(str(tmp_path / "without_agents.py"))
    with pytest.raises(BadDeclaration, match="there is no file"):
        load(str(tmp_path / "none.py"))
