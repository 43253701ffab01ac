"""The commands that read recorded runs: inspect, check and replay."""

from pathlib import Path

import pytest

from pinfleet import cli

APP = """
import pinfleet
agent = pinfleet.Agent("shop")

@agent.step
async def NAME(order: str) -> str:
    return order

@agent.main
async def main(ctx: pinfleet.Ctx, order: str) -> str:
    found = await NAME(order)
    await ctx.receive(str)
    return found
"""


MIGRATING = """

@agent.migration(from_=1, to=2)
def rename(run: pinfleet.RecordedRun) -> None:
    for step in run.named("find"):
        run.add("look_up", step.result, arguments=step.arguments)
        run.drop(step)
"""


def test_check_says_that_a_run_migrates(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Check runs the migrations and stores nothing; run stores what they made, and goes on, also the next time."""
    code = APP.replace("NAME", "look_up").replace('Agent("shop"', 'Agent("shop", schema=2')
    (app / "shop_of_s2.py").write_text(code)
    (app / "shop_of_s3.py").write_text(code + MIGRATING)
    capsys.readouterr()
    assert cli.main(["check", "shop_of_s2.py", "--input", '"o-1"']) == 1
    assert "ask: incompatible: run ask was recorded under schema 1; this code has 2" in capsys.readouterr().out
    for _ in range(2):
        assert cli.main(["check", "shop_of_s3.py", "--input", '"o-1"']) == 0
        assert "ask: migrates from schema 1 to 2 by rename, then goes on with ctx.receive#1" in capsys.readouterr().out
    for _ in range(2):
        assert cli.main(["run", "shop_of_s3.py", "--input", '"o-1"', "--name", "ask"]) == 3
    assert "ask: migrated from schema 1 to 2, 1 rows written, 1 dropped" in capsys.readouterr().out
    assert cli.main(["check", "shop_of_s3.py", "--input", '"o-1"']) == 0
    assert "ask: goes on" in capsys.readouterr().out
    assert cli.main(["inspect", "ask"]) == 0
    assert "schema 2" in capsys.readouterr().out


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An app with an open run, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shop_of_v1.py").write_text(APP.replace("NAME", "find"))
    (tmp_path / "shop_of_v2.py").write_text(APP.replace("NAME", "look_up"))
    (tmp_path / "nobody").touch()
    with (tmp_path / "nobody").open() as nobody:
        monkeypatch.setattr("sys.stdin", nobody)
        assert cli.main(["run", "shop_of_v1.py", "--input", '"o-1"', "--name", "ask"]) == 3
    return tmp_path


def test_the_commands_read_the_journal(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inspect shows the run, check says whether it goes on, replay reads its steps again."""
    capsys.readouterr()
    assert cli.main(["inspect", "ask"]) == 0
    said = capsys.readouterr().out
    assert "run ask, version local, parked, 1 step" in said
    assert "find#1" in said
    assert "message" in said
    assert cli.main(["inspect"]) == 0
    assert "run ask" in capsys.readouterr().out
    assert cli.main(["check", "shop_of_v1.py", "--input", '"o-1"']) == 0
    assert "ask: goes on" in capsys.readouterr().out
    assert cli.main(["check", "shop_of_v2.py", "ask", "--input", '"o-1"']) == 1
    said = capsys.readouterr().out
    assert 'ask: incompatible: run ask recorded step "find" #1 on local; this code asks for look_up#1' in said
    assert cli.main(["replay", "shop_of_v1.py", "ask", "--input", '"o-1"', "--until", "find#1"]) == 0
    assert capsys.readouterr().out == 'find#1 ok: {"order":"o-1"} -> "o-1"\n'
    assert cli.main(["replay", "shop_of_v1.py", "ask", "--until", "find#2"]) == 2
    assert "has no step 'find#2'; it has find#1" in capsys.readouterr().err
    assert cli.main(["inspect", "nobody-knows"]) == 2
    assert "knows no run 'nobody-knows'" in capsys.readouterr().err


SEALED = """
import pinfleet

class Rot:
    name = "rot"

    def seal(self, text: bytes) -> bytes:
        return text[::-1]

    def open(self, stored: bytes) -> bytes:
        return stored[::-1]

agent = pinfleet.Agent("talks", codec=Rot())

@agent.step
async def note(n: int) -> str:
    return f"note {n}"

@agent.main
async def main(ctx: pinfleet.Ctx, n: int) -> str:
    said = await note(n)
    if n:
        await ctx.restart(n - 1)
    return said + await ctx.receive(str)
"""


def test_sealed_runs_are_read_with_their_agent(app: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A local run seals as a pod does; check, replay and inspect open it by the agent, and show every segment."""
    (app / "sealed_app.py").write_text(SEALED)
    state = ["--state", ".pinfleet/journal.db"]
    assert cli.main(["run", "sealed_app.py", "--name", "talk", "--input", "1"]) == 3
    capsys.readouterr()
    assert b"note 1" not in b"".join(file.read_bytes() for file in (app / ".pinfleet").glob("journal.db*"))
    assert cli.main(["check", "sealed_app.py", "talk", *state]) == 0
    assert "talk: goes on" in capsys.readouterr().out
    assert cli.main(["replay", "sealed_app.py", "talk", "--until", "note#2", *state]) == 0
    assert capsys.readouterr().out == 'note#2 ok: {"n":0} -> "note 0"\n'
    assert cli.main(["inspect", "talk", *state]) == 2
    assert "sealed by the codec 'rot'" in capsys.readouterr().err
    assert cli.main(["inspect", "talk", "--app", "sealed_app.py", *state]) == 0
    said = capsys.readouterr().out
    assert '"note 1"' in said
    assert '"note 0"' in said
