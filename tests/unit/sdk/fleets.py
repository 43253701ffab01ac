"""Fleets on one PostgreSQL server: each has a schema and two roles of its own, as ``db prepare`` makes them."""

import itertools
from typing import Any

import psycopg

from pinfleet.journal import postgres_schema
from pinfleet.journal.postgres import PostgresJournal
from pinfleet.journal.postgres_schema import Roles
from tests.postgres import PostgresServer

_NUMBERS = itertools.count(1)
_TABLES = [table.partition(" ")[0] for table in postgres_schema.TABLES if not table.startswith("meta ")]


def empty(db: "psycopg.Connection[Any]") -> None:
    """Delete what a fleet's runs did, as its pods' role may."""
    for table in _TABLES:
        db.execute(f"DELETE FROM {table}")


class Fleet:
    """One fleet's schema on a server.

    Args:
        server: A running one.
    """

    def __init__(self, server: PostgresServer) -> None:
        self.server = server
        name = f"fleet{next(_NUMBERS)}"
        self.roles = Roles(schema=name, owner=f"{name}_owner", pods=f"{name}_pods")
        self.password = name
        self._opened: list[PostgresJournal] = []
        self.prepare()

    def prepare(self) -> None:
        """Make or expand the schema."""
        with self.server.connect() as db:
            postgres_schema.prepare(db, self.roles, self.password)

    @property
    def url(self) -> str:
        """What the pods' Secret holds."""
        return self.server.url(self.roles.pods, self.password)

    def journal(self, **options: Any) -> PostgresJournal:
        """Open a pod's journal."""
        opened = PostgresJournal(lambda: self.url, **options)
        self._opened.append(opened)
        return opened

    def close(self) -> None:
        """Close what was opened."""
        for opened in self._opened:
            opened.close()
