"""``pinfleet-agent db prepare | prune``: the journal's database, by whoever administers it."""

import argparse
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pinfleet import clock
from pinfleet.cli.journals import add_state, open_journal, url_of
from pinfleet.errors import BadConfiguration, JournalUnavailable
from pinfleet.journal.opening import UrlFile

_NAME: Final = re.compile(r"[a-z_][a-z0-9_]{0,55}")
_BATCH_RUNS: Final = 100


def add(commands: "argparse._SubParsersAction[Any]") -> None:
    """Declare the commands."""
    kinds = commands.add_parser("db", help="prepare or prune the journal's database").add_subparsers(required=True)
    prepare = kinds.add_parser(
        "prepare",
        help="make or expand a fleet's schema and roles on PostgreSQL",
        description="Makes a schema and two roles, or expands what an older SDK made. The URL is an administrator's.",
    )
    prepare.add_argument("name", help="of the schema, such as the fleet's; its roles are NAME_owner and NAME_pods")
    prepare.add_argument("--password-file", help="password of the pods' role; without it the role's own stays")
    add_state(prepare)
    prepare.set_defaults(run_command=run_prepare)
    prune = kinds.add_parser("prune", help="delete what runs did that ended long ago")
    prune.add_argument("--days", type=float, required=True, help="how long ago they ended, at least")
    add_state(prune)
    prune.set_defaults(run_command=run_prune)


def run_prepare(asked: argparse.Namespace) -> int:
    """Prepare a schema."""
    if not _NAME.fullmatch(asked.name):
        raise BadConfiguration(f"{asked.name!r} is no name for a schema: lower-case letters, digits and _, at most 56")
    url = url_of(asked.state)
    try:
        import psycopg  # noqa: PLC0415 - the driver is an extra

        from pinfleet.journal import postgres_schema  # noqa: PLC0415 - loads the driver
    except ImportError as err:
        raise BadConfiguration(f"PostgreSQL needs its driver: pip install 'pinfleet[postgres]' ({err})") from err
    roles = postgres_schema.Roles(schema=asked.name, owner=f"{asked.name}_owner", pods=f"{asked.name}_pods")
    password = Path(asked.password_file).read_text(encoding="utf-8").strip() if asked.password_file else None
    try:
        with psycopg.connect(url() if isinstance(url, UrlFile) else url, autocommit=True) as db:
            postgres_schema.prepare(db, roles, password)
    except psycopg.Error as err:
        raise JournalUnavailable(f"cannot prepare schema {roles.schema}: {' '.join(str(err).split())}") from err
    print(f"schema {roles.schema} is prepared; pods connect as {roles.pods}")  # noqa: T201 - says what it did
    return 0


def run_prune(asked: argparse.Namespace) -> int:
    """Prune all that is old enough, in batches."""
    journal, pruned = open_journal(asked.state), 0
    before = clock.now().wall - timedelta(days=asked.days)
    while found := journal.prune(before, _BATCH_RUNS):
        pruned += found
    journal.close()
    print(f"pruned {pruned} runs that ended before {before:%Y-%m-%d %H:%M}")  # noqa: T201 - says what it did
    return 0
