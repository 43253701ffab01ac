"""The journal's tables on SQLite, and how they grow.

Within a major, changes only *expand*: new tables, new columns with defaults. A newer pod must never make the database
unreadable to an older one that still serves its runs, so the stored number is information and only the major refuses.
"""

import sqlite3
from pathlib import Path
from typing import Any, Final

from pinfleet.errors import JournalRefused

MAJOR: Final = 1
MINOR: Final = 2

TABLES: Final = (  # as minor 1 had them
    "CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    """CREATE TABLE IF NOT EXISTS run (
        uid TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        version TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        boot TEXT NOT NULL,
        pod TEXT NOT NULL,
        schema INTEGER NOT NULL,
        segment INTEGER NOT NULL DEFAULT 1,
        state TEXT NOT NULL,              -- running, parked, succeeded, failed, cancelled, limit
        steps INTEGER NOT NULL DEFAULT 0, -- counted ones, over all epochs and segments
        outcome BLOB,                     -- JSON, sealed; set with a terminal state
        codec TEXT NOT NULL DEFAULT '',
        created TEXT NOT NULL,
        claimed TEXT NOT NULL,
        ended TEXT
    ) STRICT""",
    """CREATE TABLE IF NOT EXISTS step (
        run TEXT NOT NULL,
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        n INTEGER NOT NULL,
        segment INTEGER NOT NULL,
        kind TEXT NOT NULL,               -- step, tool, value
        status TEXT NOT NULL,             -- ok, failed, unknown
        arguments BLOB NOT NULL,
        result BLOB,                      -- NULL: in blob
        blob TEXT,                        -- its sha256
        manifest TEXT NOT NULL,
        epoch INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        version TEXT NOT NULL,
        pod TEXT NOT NULL,
        codec TEXT NOT NULL DEFAULT '',
        begun TEXT NOT NULL,
        committed TEXT NOT NULL,
        PRIMARY KEY (run, scope, name, n)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS call (
        run TEXT NOT NULL,
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        n INTEGER NOT NULL,
        attempt INTEGER NOT NULL,
        key TEXT NOT NULL,                -- minted once, at the first intent
        policy TEXT NOT NULL,             -- resend, reconcile, unknown
        first_sent TEXT,
        PRIMARY KEY (run, scope, name, n, attempt)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS wait (
        run TEXT NOT NULL,
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        n INTEGER NOT NULL,
        segment INTEGER NOT NULL,
        kind TEXT NOT NULL,               -- Timer, Approval, Message
        hash TEXT,                        -- of what a person is asked
        shown BLOB,
        since TEXT NOT NULL,
        until TEXT,
        answer BLOB,
        answered TEXT,
        epoch INTEGER NOT NULL,
        codec TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (run, scope, name, n)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS inbox (
        run TEXT NOT NULL,
        id TEXT NOT NULL,
        body BLOB NOT NULL,
        received TEXT NOT NULL,
        taken_scope TEXT,
        taken_name TEXT,
        taken_n INTEGER,
        codec TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (run, id)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS blob (
        run TEXT NOT NULL,
        hash TEXT NOT NULL,
        data BLOB NOT NULL,
        PRIMARY KEY (run, hash)
    ) STRICT, WITHOUT ROWID""",
)

NEW_TABLES: Final = (
    """CREATE TABLE IF NOT EXISTS decision (
        run TEXT NOT NULL,
        hash TEXT NOT NULL,               -- of the request
        decision TEXT NOT NULL,
        by TEXT NOT NULL,
        via TEXT NOT NULL,
        comment BLOB NOT NULL,
        at TEXT NOT NULL,
        codec TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (run, hash)
    ) STRICT, WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS kept (    -- apart from run, whose row every commit writes anew
        run TEXT NOT NULL,
        what TEXT NOT NULL,               -- state: of this segment; partial: the newest
        data BLOB NOT NULL,
        codec TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (run, what)
    ) STRICT""",
)

NEW_COLUMNS: Final = (
    ("run", "tokens", "INTEGER NOT NULL DEFAULT 0"),
    ("run", "pruned", "TEXT"),
    ("call", "segment", "INTEGER NOT NULL DEFAULT 1"),
    ("call", "arguments", "BLOB NOT NULL DEFAULT x''"),
    ("call", "begun", "TEXT NOT NULL DEFAULT ''"),
    ("call", "sent", "TEXT"),
    ("call", "epoch", "INTEGER NOT NULL DEFAULT 0"),
    ("call", "version", "TEXT NOT NULL DEFAULT ''"),
    ("call", "pod", "TEXT NOT NULL DEFAULT ''"),
    ("call", "codec", "TEXT NOT NULL DEFAULT ''"),
    ("inbox", "number", "INTEGER NOT NULL DEFAULT 0"),
    ("inbox", "taken_segment", "INTEGER"),
)
"""What each minor after the first added; a new database takes the same way."""

INDEXES: Final = (
    "run_ended ON run (ended) WHERE ended IS NOT NULL AND pruned IS NULL",
    "run_pruned ON run (pruned) WHERE pruned IS NOT NULL",
)


def prepare(db: sqlite3.Connection, path: Path) -> None:
    """Make the tables and columns that are not there yet.

    Raises:
        JournalRefused: The database has a newer major.
    """
    known: dict[str, Any] = {}
    if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta'").fetchone():
        known = dict(db.execute("SELECT key, value FROM meta").fetchall())
    if int(known.get("major", MAJOR)) > MAJOR:
        raise JournalRefused(f"the journal {path} has major {known['major']}; this SDK knows {MAJOR}")
    if int(known.get("minor", 0)) >= MINOR:
        return
    db.execute("BEGIN IMMEDIATE")
    for table in TABLES + NEW_TABLES:
        db.execute(table)
    for table, column, kind in NEW_COLUMNS:
        there = {row["name"] for row in db.execute(f"PRAGMA table_info({table})")}
        if column not in there:
            db.execute(f"ALTER TABLE {table} ADD COLUMN {column} {kind}")
    for index in INDEXES:
        db.execute(f"CREATE INDEX IF NOT EXISTS {index}")
    db.execute("INSERT OR IGNORE INTO meta VALUES ('major', ?)", (str(MAJOR),))
    db.execute("INSERT OR REPLACE INTO meta VALUES ('minor', ?)", (str(MINOR),))
    db.execute("COMMIT")
