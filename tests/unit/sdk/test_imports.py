"""What an agent's module loads by importing the SDK; how long that takes is measured by bench/imports.py."""

import subprocess
import sys

import pytest

HEAVY = {"aiohttp", "asyncio", "msgspec", "psycopg", "pydantic", "sqlite3", "tenacity", "httpx", "kubernetes"}


def run_python(code: str) -> str:
    """Run code in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("code", "loaded"),
    [
        ("import pinfleet", set()),
        ("from pinfleet import Agent, Ctx, Call; Agent('a')", {"asyncio"}),
        ("from pinfleet import Secret, Denied", set()),
    ],
)
def test_an_agents_module_loads_little(code: str, loaded: set[str]) -> None:
    """Neither a database, a web server nor a framework comes with the names that an author imports."""
    assert HEAVY & set(run_python(f"{code}; import sys; print(*sys.modules)").split()) == loaded


def test_imports_are_cheap() -> None:
    """The names of an author cost at most twice `import asyncio, sqlite3`; the best of several tries of each."""
    clock = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    ours, base = [], []
    for _ in range(5):
        ours.append(float(run_python(clock.format("from pinfleet import Agent, Ctx, Call"))))
        base.append(float(run_python(clock.format("import asyncio, sqlite3"))))
    assert min(ours) <= 2 * min(base)


def test_all_names_load() -> None:
    """Every exported name is there."""
    import pinfleet  # noqa: PLC0415

    assert all(getattr(pinfleet, name) for name in pinfleet.__all__)
    assert set(pinfleet.__all__) <= set(dir(pinfleet))
    with pytest.raises(AttributeError):
        _ = pinfleet.nothing
