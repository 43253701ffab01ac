"""``pinfleet-agent run app.py``: one run at the terminal, without a cluster."""

import argparse
import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final, NoReturn

from pinfleet.agent import Agent
from pinfleet.cli import serve
from pinfleet.errors import BadConfiguration, BadDeclaration, Incompatible

STATE: Final = Path(".pinfleet/journal.db")
_INTERRUPTED: Final = 130
_LOOK_SECONDS: Final = 0.5


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "run",
        help="run an agent here: SQLite, no cluster, a readable trace, approvals at the prompt",
        description="Runs an agent at the terminal. Ctrl-C leaves the run open; the same command goes on with it.",
    )
    parser.add_argument("app", help="a file such as app.py, app.py:agent if it has several agents, or module:attribute")
    parser.add_argument("--input", default="null", help="JSON of the run's input (null)")
    parser.add_argument("--name", default="local", help="the run's name; an open run of this name goes on (local)")
    parser.add_argument("--state", type=Path, default=STATE, help=f"the journal's file ({STATE})")
    parser.add_argument("--skip-timers", action="store_true", help="every ctx.sleep is due at once")
    parser.add_argument("--changed-code", action="store_true", help="go on with a run that other code recorded")
    parser.add_argument("--reload", action="store_true", help="start again when a file beside the app changes")
    parser.set_defaults(run_command=run)


def run(asked: argparse.Namespace) -> int:
    """Run it; 0 if it succeeded, 1 if it ended otherwise, 3 if it stays open."""
    import json  # noqa: PLC0415 - the command alone needs what follows

    from pinfleet.local.session import Session  # noqa: PLC0415

    try:
        json.loads(asked.input)
    except ValueError as err:
        raise BadConfiguration(f"--input must be JSON, found {asked.input!r}: {err}") from err
    agent = load(asked.app)
    if asked.reload:
        _watch(Path(asked.app.partition(":")[0]).resolve().parent)
    session = Session(
        agent=agent,
        state=asked.state,
        name=asked.name,
        given=asked.input.encode(),
        skips_timers=asked.skip_timers,
        takes_changed_code=asked.changed_code,
    )
    try:
        return asyncio.run(session.live())
    except Incompatible as err:
        if not asked.reload:
            raise
        session.say(str(err))
        _again(asked.name)
    except KeyboardInterrupt:
        session.say(f"interrupted; the same command goes on with {asked.name} where it stopped")
        return _INTERRUPTED


def load(words: str) -> Agent:
    """Return the agent of a file or of ``module:attribute``.

    Raises:
        BadDeclaration: There is none, or the file has several.
    """
    place, _, attribute = words.partition(":")
    path = Path(place)
    if path.suffix != ".py":
        return serve.load(words)
    if not path.is_file():
        raise BadDeclaration(f"there is no file {path}")
    sys.path.insert(0, str(path.resolve().parent))
    if attribute:
        return serve.load(f"{path.stem}:{attribute}")
    from importlib import import_module  # noqa: PLC0415 - beside its use

    module = import_module(path.stem)
    found = sorted(name for name, value in vars(module).items() if isinstance(value, Agent))
    if len(found) != 1:
        raise BadDeclaration(f"{path} has {len(found)} agents ({', '.join(found)}); name one: {path}:NAME")
    return serve.load(f"{path.stem}:{found[0]}")


def _watch(folder: Path) -> None:
    """Start this very command again when a Python file changes; open runs stay in the journal."""

    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in folder.rglob("*.py") if path.exists()}

    def look() -> None:
        before = state()
        while (now := state()) == before:
            time.sleep(_LOOK_SECONDS)
        changed = (path for path in now.keys() | before.keys() if now.get(path) != before.get(path))
        names = ", ".join(sorted(str(path.relative_to(folder)) for path in changed))
        sys.stdout.write(f"changed: {names}; starting again\n")
        sys.stdout.flush()
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - the same command

    threading.Thread(target=look, name="reload", daemon=True).start()


def _again(name: str) -> NoReturn:
    """A run of changed code was refused: go on with another name."""
    words = list(sys.orig_argv[1:])
    stem, _, number = name.rpartition("-")
    following = f"{stem}-{int(number) + 1}" if stem and number.isdigit() else f"{name}-2"
    if "--name" in words:
        words[words.index("--name") + 1] = following
    else:
        words += ["--name", following]
    os.execv(sys.executable, [sys.executable, *words])  # noqa: S606 - the same command
