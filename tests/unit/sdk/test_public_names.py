"""The page of public names says what can be imported, and nothing else."""

import re
from importlib.resources import files
from pathlib import Path

import pinfleet
import pinfleet.testing

PAGE = (Path(__file__).parents[3] / "docs/reference/sdk.md").read_text()


def listed(heading: str) -> set[str]:
    """The names in the first column of a heading's table."""
    section = PAGE.partition(f"## `{heading}`\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    return {name for cell in rows for name in re.findall(r"`(\w+)`", cell)}


def test_every_public_name_is_listed() -> None:
    """A name that can be imported has a row with its stability, and every row a name."""
    assert listed("pinfleet") == set(pinfleet.__all__)
    public = {name for name, value in vars(pinfleet.testing).items() if not name.startswith("_") and callable(value)}
    assert listed("pinfleet.testing") == public


def test_every_row_says_how_stable() -> None:
    """A row without a stability promises nothing."""
    rows = [line for line in PAGE.partition("## Commands")[0].splitlines() if line.startswith("| `")]
    assert rows
    assert all(row.rstrip(" |").endswith((" stable", " provisional")) for row in rows)


def test_what_ctx_offers_is_listed() -> None:
    """The methods of Ctx stand in its row."""
    row = next(line for line in PAGE.splitlines() if line.startswith("| `Ctx`"))
    methods = {name for name in vars(pinfleet.Ctx) if not name.startswith("_")}
    assert set(re.findall(r"`(\w+)`", row)) - {"Ctx"} == methods


def test_type_checkers_read_the_package() -> None:
    """The package says that it is typed."""
    assert files("pinfleet").joinpath("py.typed").is_file()
