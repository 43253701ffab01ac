"""Writes every generated file, or says what is out of date: ``generate.py [--check]``.

``make generate`` runs it; ``make verify`` runs it with ``--check``. What is generated: the CRDs in
``crds/`` and the same CRDs as templates of the chart, whose folders hold nothing else, and the table of cases,
``docs/cases.md``, and that of the run protocol's rules, ``docs/rules.md``. It also fails where a case that is served,
or a rule, has no test.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from hack import cases, rules
from pinfleet_operator.api import crdgen

ROOT = Path(__file__).resolve().parents[1]
CURE = "run `make generate` and commit what it writes"


def main(arguments: list[str] | None = None, root: Path = ROOT) -> int:
    """Write or check the generated files below `root`; the exit code."""
    parser = argparse.ArgumentParser(description="Write the generated files.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a file is out of date")
    wanted = crdgen.files() | cases.files() | rules.files()
    if not parser.parse_args(arguments).check:
        write(root, wanted)
        return 0
    troubles, mistakes = check(root, wanted), cases.troubles() + rules.troubles()
    for trouble in mistakes + troubles:
        print(trouble, file=sys.stderr)
    if troubles:
        print(CURE, file=sys.stderr)
    return 1 if troubles or mistakes else 0


def write(root: Path, wanted: dict[str, str]) -> None:
    """Make the generated folders hold exactly `wanted`, touching only what differs."""
    for path in extra(root, wanted):
        (root / path).unlink()
        print(f"removed {path}")
    for path, text in wanted.items():
        target = root / path
        if target.is_file() and target.read_text(encoding="utf-8") == text:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
        print(f"wrote {path}")


def check(root: Path, wanted: dict[str, str]) -> list[str]:
    """What is wrong with the generated files, one line each; empty: nothing."""
    troubles = [f"{path}: not generated from anything" for path in extra(root, wanted)]
    for path, text in wanted.items():
        target = root / path
        if not target.is_file():
            troubles.append(f"{path}: missing")
        elif target.read_text(encoding="utf-8") != text:
            troubles.append(f"{path}: out of date")
    return troubles


def extra(root: Path, wanted: dict[str, str]) -> list[str]:
    """Files in the generated folders that nothing generates, sorted."""
    folders = sorted({Path(path).parent for path in wanted if path not in {cases.FILE, rules.FILE}})
    present = (file.relative_to(root).as_posix() for folder in folders for file in (root / folder).rglob("*"))
    return sorted(path for path in present if path not in wanted and (root / path).is_file())


if __name__ == "__main__":
    sys.exit(main())
