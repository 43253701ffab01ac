"""What an agent's module loads by importing the SDK; how long that takes is measured by bench/imports.py."""

import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "asyncio", "msgspec", "psycopg", "pydantic", "sqlite3", "tenacity", "httpx"}


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import pinfleet", set()),
        ("from pinfleet import Agent, Ctx, Call", {"asyncio"}),
        ("from pinfleet import Secret, Denied", set()),
    ],
)
def test_an_agents_module_loads_little(code: str, loaded: set[str]) -> None:
    """Neither a database, a web server nor a framework comes with the names that an author imports."""
    shown = f"{code}; import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == loaded


def test_every_public_name_can_be_imported() -> None:
    """Whatever is loaded late is found when it is asked for."""
    code = "import pinfleet; print(*(getattr(pinfleet, name).__name__ for name in pinfleet.__all__))"
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout
