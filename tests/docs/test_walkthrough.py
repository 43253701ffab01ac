"""The reader of the docs notices what a page says wrongly."""

from pathlib import Path

import pytest

from tests.docs.walkthrough import Walk, commands_of, missing_line

PAGE = """# A page
```python title="hello.py"
print("hello")
print("world", 1 + 1)
```
```console
$ python hello.py
hello
SECOND
$ echo one; echo \\
  two
one
two
```
"""


@pytest.mark.parametrize(
    ("second", "is_right"), [("world 2", True), ("world ...", True), ("...", True), ("world 3", False)]
)
def test_a_page_is_followed(tmp_path: Path, second: str, is_right: bool) -> None:  # noqa: FBT001 - a table's column
    """Files are written, commands typed; an output line that does not come is named with its command."""
    page = tmp_path / "page.md"
    page.write_text(PAGE.replace("SECOND", second))
    found = Walk(tmp_path).follow(page)
    assert (found == []) == is_right
    assert is_right or "the page shows: world 3" in found[0]


def test_lines_must_come_in_order() -> None:
    """Output in another order is another output."""
    assert missing_line(("a", "b"), "a\nx\nb\n") is None
    assert missing_line(("b", "a"), "a\nx\nb\n") == "a"


def test_a_command_may_go_on() -> None:
    """A backslash at the end joins the next line to the command."""
    assert [command.words for command in commands_of("$ a \\\n  b\nout\n$ c\n")] == ["a \\\n  b", "c"]
