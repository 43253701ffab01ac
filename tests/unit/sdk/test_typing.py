"""An author's mistakes are flagged by a type checker, and the types of results are kept."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
SOURCE = Path(__file__).with_name("typed_author.py")
IGNORE = re.compile(r"  # type: ignore\[(.+)\]$")


def test_wrong_arguments_are_flagged_and_results_keep_their_types(tmp_path: Path) -> None:
    """Strict mypy flags every line that the source marks, for the reason that it names, and no other line."""
    lines = SOURCE.read_text().splitlines()
    expected = {
        (number, code.strip())
        for number, line in enumerate(lines, 1)
        if (found := IGNORE.search(line))
        for code in found[1].split(",")
    }
    bare = tmp_path / "author.py"
    bare.write_text("\n".join(IGNORE.sub("", line) for line in lines))
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--no-pretty", "--show-error-codes"]
    done = subprocess.run([*command, str(bare)], cwd=ROOT, capture_output=True, text=True, check=False)
    said = re.findall(r"author\.py:(\d+): error: .*\[([a-z-]+)\]", done.stdout)
    assert {(int(number), code) for number, code in said} == expected, done.stdout + done.stderr
