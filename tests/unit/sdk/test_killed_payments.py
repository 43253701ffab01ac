"""Fifty payments at a real service, the agent's process killed ten times on the way: each is made once, or in doubt."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SERVER = Path(__file__).parents[3] / "examples/payments/server.py"
PAYMENTS, KILLS = 50, 10
PATIENCE_SECONDS = 120.0
APP = """
import json
import urllib.request
from pinfleet import Agent, Call, Ctx, OutcomeUnknown

agent = Agent("payroll")

@agent.tool(OPTIONS)
def pay(call: Call, order: str) -> str:
    body = json.dumps({"order": order, "cents": 100}).encode()
    request = urllib.request.Request("http://127.0.0.1:PORT/payments", body, dict(call.headers))
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["id"]

@agent.main
async def payroll(ctx: Ctx, count: int) -> int:
    doubts = 0
    for n in range(count):
        try:
            await pay(f"o-{n}")
        except OutcomeUnknown:
            doubts += 1
    return doubts
"""


@pytest.fixture(scope="module")
def payments() -> ModuleType:
    """The example's module."""
    spec = util.spec_from_file_location("payments_server", SERVER)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def ledger(payments: ModuleType, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Any]:
    """What a service of the test's own has charged; its app is beside it."""
    honours = request.param
    made = payments.Ledger(tmp_path / "charges", honours_keys=honours, seconds=0.005)
    server = payments.serve(made, 0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    app = APP.replace("PORT", str(server.server_port)).replace("OPTIONS", "resend=True" if honours else "")
    (tmp_path / "app.py").write_text(app)
    yield made
    server.shutdown()
    server.server_close()


def run(folder: Path) -> "subprocess.Popen[str]":
    """Go on with the run."""
    words = [sys.executable, "-m", "pinfleet.cli", "run", "app.py", "--input", str(PAYMENTS)]
    return subprocess.Popen(
        words, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


def kill_on_the_way(folder: Path, ledger: Any, dice: random.Random) -> str:
    """Kill the process ten times, each after some more charges; return what the last one said."""
    points = sorted(dice.sample(range(1, PAYMENTS - KILLS), KILLS))  # each kill may leave one that is never made
    for point in points:
        process = run(folder)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while len(ledger.charges()) < point:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(dice.uniform(0, 0.02))  # somewhere inside of a call, a commit, or between
        process.send_signal(signal.SIGKILL)
        process.communicate()
    said, _ = run(folder).communicate(timeout=PATIENCE_SECONDS)
    return said


@pytest.mark.parametrize("ledger", [True], indirect=True)
def test_ten_kills_make_no_second_payment(ledger: Any, tmp_path: Path) -> None:
    """Where the service honours keys, every payment is made exactly once."""
    seed = random.randrange(10**6)
    said = kill_on_the_way(tmp_path, ledger, random.Random(seed))
    assert 'succeeded: {"result":0}' in said, (seed, said)
    assert Counter(charge["order"] for charge in ledger.charges()) == {f"o-{n}": 1 for n in range(PAYMENTS)}, seed


@pytest.mark.parametrize("ledger", [False], indirect=True)
def test_ten_kills_leave_doubt_and_never_two(ledger: Any, tmp_path: Path) -> None:
    """Where it honours none, a payment that was under way is in doubt, and no payment is ever made twice."""
    seed = random.randrange(10**6)
    said = kill_on_the_way(tmp_path, ledger, random.Random(seed))
    made = Counter(charge["order"] for charge in ledger.charges())
    assert set(made.values()) == {1}, (seed, made.most_common(3))
    doubts = int(said.rpartition('succeeded: {"result":')[2].partition("}")[0])
    assert doubts <= KILLS, (seed, said)
    assert PAYMENTS - doubts <= len(made), (seed, said)
