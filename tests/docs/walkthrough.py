"""Does what a page of the docs tells its reader to do: writes its files, types its commands, reads their output.

A block with a title is a file: ``python title="app.py"``. In a ``console`` block a line after ``$`` is a command, and
the lines below it are its output: each must come, in this order; ``...`` stands for any lines, and within a line for
any text.
"""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE
)
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    title: str | None
    text: str


@dataclass(frozen=True)
class Command:
    """One command of a console block, with the output that the page shows."""

    words: str
    shown: tuple[str, ...]


def blocks_of(page: Path) -> list[Block]:
    """The page's blocks, in order."""
    return [Block(found["language"], found["title"], found["text"]) for found in _BLOCK.finditer(page.read_text())]


def commands_of(text: str) -> list[Command]:
    """The commands of a console block; a line that ends with a backslash goes on."""
    commands: list[Command] = []
    words, shown = "", list[str]()
    is_open = False
    for line in [*text.splitlines(), "$ "]:
        if is_open:
            words, is_open = f"{words}\n{line}", line.endswith("\\")
        elif line.startswith("$ "):
            if words:
                commands.append(Command(words, tuple(shown)))
            words, shown, is_open = line[2:], [], line.endswith("\\")
        else:
            shown.append(line)
    return commands


def missing_line(shown: tuple[str, ...], said: str) -> str | None:
    """The first line of the page that the command did not say, or None."""
    lines = iter(said.splitlines())
    for line in shown:
        if line.strip() == "...":
            continue
        pattern = ".*".join(re.escape(part) for part in line.strip().split("..."))
        if not any(re.fullmatch(pattern, said_line.strip()) for said_line in lines):
            return line
    return None


class Walk:
    """A reader who follows a page in an empty folder.

    Args:
        folder: Where the files are written and the commands are typed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._environment = os.environ | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}

    def follow(self, page: Path) -> list[str]:
        """Do all that the page says; return what differs from what it shows."""
        wrong: list[str] = []
        for block in blocks_of(page):
            if block.title is not None:
                (self._folder / block.title).write_text(block.text)
            elif block.language == "console":
                wrong += [found for command in commands_of(block.text) if (found := self._type(command)) is not None]
        return wrong

    def _type(self, command: Command) -> str | None:
        with (self._folder / ".said").open("w+") as said:  # a file: a server left in the background holds no pipe
            subprocess.run(
                ["bash", "-c", command.words],  # noqa: S607 - as a reader types it
                cwd=self._folder, env=self._environment, stdin=subprocess.DEVNULL, stdout=said,
                stderr=subprocess.STDOUT, timeout=_PATIENCE_SECONDS, check=False,
            )  # fmt: skip
            said.seek(0)
            text = said.read()
        line = missing_line(command.shown, text)
        return None if line is None else f"$ {command.words}\nthe page shows: {line}\nit said:\n{text}"
