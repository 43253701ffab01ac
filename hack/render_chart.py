"""Renders the chart with Helm itself, as a library: ``render_chart.py [--namespace N] [--set key=value ...]``.

The suites apply what this renders, so that what is tested is what is installed. No cluster is asked: ``lookup`` finds
nothing, and the operator's key is a new one each time.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import helm_python
import yaml

CHART = Path(__file__).resolve().parents[1] / "charts" / "pinfleet"

Document = dict[str, Any]


def render(*, namespace: str = "pinfleet-system", values: Document | None = None) -> list[Document]:
    """Every object of the chart, in the order of its files.

    Args:
        namespace: the release's namespace.
        values: what to set, over the chart's own values.

    Raises:
        helm_python.HelmError: the values do not fit the chart's schema, or a template fails.
    """
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(values or {}))
        files = chart.render(values or {}, name="pinfleet", namespace=namespace)
    texts = [text for name, text in sorted(files.items()) if name.endswith(".yaml")]  # NOTES.txt is for people
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def main(arguments: list[str] | None = None) -> int:
    """Print the rendered chart as YAML; the exit code."""
    parser = argparse.ArgumentParser(description="Print the chart as Helm renders it.")
    parser.add_argument("--namespace", default="pinfleet-system")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="sets")
    given = parser.parse_args(arguments)
    values = helm_python.parse_set_string(",".join(given.sets)) if given.sets else {}
    sys.stdout.write(yaml.safe_dump_all(render(namespace=given.namespace, values=values), sort_keys=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
