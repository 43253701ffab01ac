"""Rows of figures: printed, and one JSON file per bench under bench/out."""

import json
import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

OUT = Path(__file__).parent / "out"
Goal = Literal["at most", "at least", "equal"]


@dataclass(frozen=True)
class Row:
    """One figure, and what it is held against."""

    name: str
    value: float
    unit: str
    rival: float | None = None  # the bare client's figure, or a limit; None: the figure stands alone
    ratio: float | None = None  # value / rival, or how pairs compare
    goal: str = ""  # empty: for information
    met: bool | None = None
    n: str = ""  # of how many


def judged(name: str, value: float, unit: str, rival: float, *, most: float = 0, least: float = 0, n: str = "") -> Row:
    """A row whose ratio to the rival has a bound, above or below."""
    ratio = value / rival if rival else float("inf")
    met = ratio <= most if most else ratio >= least
    goal = f"ratio <= {most:g}" if most else f"ratio >= {least:g}"
    return Row(name, value, unit, rival, ratio, goal, met, n)


def save(bench: str, rows: list[Row], facts: dict[str, Any], units: list[dict[str, Any]]) -> None:
    """Write a bench's file and print its rows."""
    OUT.mkdir(exist_ok=True)
    content = {"bench": bench, "machine": machine() | facts, "rows": [asdict(row) for row in rows], "units": units}
    (OUT / f"{bench}.json").write_text(json.dumps(content, indent=2) + "\n")
    for row in rows:
        against = "" if row.rival is None else f" against {row.rival:.4g}"
        ratio = "" if row.ratio is None else f", ratio {row.ratio:.2f}"
        verdict = "" if row.met is None else f" [{row.goal}: {'met' if row.met else 'MISSED'}]"
        print(f"  {row.name:<44} {row.value:>9.4g} {row.unit}{against}{ratio}{verdict} {row.n}", flush=True)


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_average": os.getloadavg(),
        "fsync": "off (etcd --unsafe-no-fsync)",
    }


def percentile(values: list[float], share: float) -> float:
    """The value below which that share of all lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
