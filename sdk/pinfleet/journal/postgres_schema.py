"""The journal's tables on PostgreSQL, one schema per fleet, and the two roles that part their owner from the pods.

``prepare`` runs with an administrator's connection (``pinfleet-agent db prepare``), as often as anybody likes: a second
time it adds what a newer SDK expects and changes nothing else. Pods never change tables. As on SQLite a minor only
expands: new tables, new columns with defaults.
"""

from dataclasses import dataclass
from typing import Any, Final

import psycopg
from psycopg import sql

from pinfleet.errors import JournalRefused

MAJOR: Final = 1
MINOR: Final = 2

_OWN: Final = 'run text COLLATE "C" NOT NULL'
_KEY: Final = f'{_OWN}, scope text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL, n bigint NOT NULL'
_BY: Final = "epoch bigint NOT NULL, version text NOT NULL, pod text NOT NULL, codec text NOT NULL"

TABLES: Final = (
    "meta (key text PRIMARY KEY, value text NOT NULL)",
    """run (uid text COLLATE "C" PRIMARY KEY, name text NOT NULL, version text NOT NULL, epoch bigint NOT NULL,
        boot text NOT NULL, pod text NOT NULL, schema bigint NOT NULL, segment bigint NOT NULL DEFAULT 1,
        state text NOT NULL, steps bigint NOT NULL DEFAULT 0, tokens bigint NOT NULL DEFAULT 0, outcome bytea,
        codec text NOT NULL, created timestamptz NOT NULL, claimed timestamptz NOT NULL, ended timestamptz,
        pruned timestamptz
        ) WITH (fillfactor = 50)""",
    f"""step ({_KEY}, segment bigint NOT NULL, kind text NOT NULL, status text NOT NULL, arguments bytea NOT NULL,
        result bytea, blob text, manifest text NOT NULL, attempt bigint NOT NULL, {_BY},
        begun timestamptz NOT NULL, committed timestamptz NOT NULL, PRIMARY KEY (run, scope, name, n))""",
    f"""call ({_KEY}, attempt bigint NOT NULL, key text NOT NULL, policy text NOT NULL, first_sent timestamptz,
        sent timestamptz, segment bigint NOT NULL, arguments bytea NOT NULL, begun timestamptz NOT NULL, {_BY},
        PRIMARY KEY (run, scope, name, n, attempt))""",
    f"""wait ({_KEY}, segment bigint NOT NULL, kind text NOT NULL, hash text, shown bytea, since timestamptz NOT NULL,
        until timestamptz, answer bytea, answered timestamptz, epoch bigint NOT NULL, codec text NOT NULL,
        PRIMARY KEY (run, scope, name, n))""",
    f"""inbox ({_OWN}, id text COLLATE "C" NOT NULL, number bigint NOT NULL, body bytea NOT NULL,
        received timestamptz NOT NULL, taken_scope text, taken_name text, taken_n bigint, taken_segment bigint,
        codec text NOT NULL, PRIMARY KEY (run, id))""",
    f"""decision ({_OWN}, hash text COLLATE "C" NOT NULL, decision text NOT NULL, by text NOT NULL, via text NOT NULL,
        comment bytea NOT NULL, at timestamptz NOT NULL, codec text NOT NULL, PRIMARY KEY (run, hash))""",
    f"kept ({_OWN}, what text NOT NULL, data bytea NOT NULL, codec text NOT NULL, PRIMARY KEY (run, what))",
    f"blob ({_OWN}, hash text NOT NULL, data bytea NOT NULL, PRIMARY KEY (run, hash))",
)
INDEXES: Final = (
    "run_ended ON run (ended) WHERE ended IS NOT NULL AND pruned IS NULL",
    "run_pruned ON run (pruned) WHERE pruned IS NOT NULL",
)


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of one fleet's schema and roles."""

    schema: str
    owner: str  # owns the tables; nobody logs in as it
    pods: str  # what the pods' URL names


def prepare(db: "psycopg.Connection[Any]", roles: Roles, password: str | None) -> None:
    """Make or expand the schema; one transaction.

    Args:
        db: An administrator's: it may create roles, and schemas in this database.
        roles: Names of the fleet's parts.
        password: Of the pods' role; None leaves the one that it has.

    Raises:
        JournalRefused: The schema is of a newer major.
    """
    with db.transaction():
        db.execute("SELECT pg_advisory_xact_lock(hashtext('pinfleet'))")  # two at once would race for the names
        _make_roles(db, roles, password)
        names = {"schema": sql.Identifier(roles.schema), "owner": sql.Identifier(roles.owner)}
        names["pods"] = sql.Identifier(roles.pods)
        _run(db, "CREATE SCHEMA IF NOT EXISTS {schema} AUTHORIZATION {owner}", names)
        _run(db, "SET LOCAL ROLE {owner}", names)
        _run(db, "SET LOCAL search_path = {schema}", names)
        for table in TABLES:
            db.execute(sql.SQL("CREATE TABLE IF NOT EXISTS " + table))
        for index in INDEXES:
            db.execute(sql.SQL("CREATE INDEX IF NOT EXISTS " + index))
        require_major(dict(db.execute("SELECT key, value FROM meta").fetchall()), roles.schema)
        db.execute("INSERT INTO meta VALUES ('major', %s) ON CONFLICT DO NOTHING", (str(MAJOR),))
        db.execute(
            """INSERT INTO meta VALUES ('minor', %s) ON CONFLICT (key) DO UPDATE SET value = excluded.value
               WHERE meta.value::int < excluded.value::int""",
            (str(MINOR),),
        )
        _run(db, "GRANT USAGE ON SCHEMA {schema} TO {pods}", names)
        _run(db, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {pods}", names)
        _run(db, "REVOKE INSERT, UPDATE, DELETE ON meta FROM {pods}", names)
        db.execute("RESET ROLE")
        _run(db, "ALTER ROLE {pods} SET search_path = {schema}", names)


def require_major(meta: dict[str, str], where: str) -> None:
    """Raise JournalRefused if the tables are of a newer major than this SDK's."""
    if int(meta.get("major", MAJOR)) > MAJOR:
        raise JournalRefused(f"the journal {where} has major {meta['major']}; this SDK knows {MAJOR}")


def _make_roles(db: "psycopg.Connection[Any]", roles: Roles, password: str | None) -> None:
    for name, can in ((roles.owner, "NOLOGIN"), (roles.pods, "LOGIN")):
        if db.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone() is None:
            _run(db, "CREATE ROLE {name} " + can, {"name": sql.Identifier(name)})
    if password is not None:
        said = {"pods": sql.Identifier(roles.pods), "password": sql.Literal(password)}
        _run(db, "ALTER ROLE {pods} PASSWORD {password}", said)
    me = db.execute("SELECT current_user").fetchone()
    is_member = db.execute("SELECT pg_has_role(current_user, %s, 'SET')", (roles.owner,)).fetchone()
    if me is not None and is_member == (False,):
        _run(db, "GRANT {owner} TO {me}", {"owner": sql.Identifier(roles.owner), "me": sql.Identifier(me[0])})


def _run(db: "psycopg.Connection[Any]", text: str, names: dict[str, Any]) -> None:
    db.execute(sql.SQL(text).format(**names))
