"""The one place that knows which database a state URL means; a database's driver is loaded when a URL names it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pinfleet.errors import BadConfiguration, JournalUnavailable
from pinfleet.journal.interface import Codec, Journal
from pinfleet.journal.sqlite import SqliteJournal
from pinfleet.rules import ALL, Rules

_SQLITE: Final = "sqlite:///"
POSTGRES: Final = ("postgresql://", "postgres://")
STATE_URLS: Final = (
    "sqlite:////absolute/path, a bare absolute path, and postgresql://user:password@host/database"
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A file that holds a URL of PostgreSQL; read again for every connection, since Secrets are rotated."""

    path: Path

    def __call__(self) -> str:
        """Return the URL.

        Raises:
            JournalUnavailable: There is none now; the Secret may come.
        """
        try:
            url = self.path.read_text(encoding="utf-8").strip()
        except OSError as err:
            raise JournalUnavailable(f"cannot read the state URL from {self.path}: {err.strerror}") from err
        if not url.startswith(POSTGRES):
            raise JournalUnavailable(f"{self.path} holds no postgresql:// URL")  # not its text: it has a password
        return url


def open_journal(url: str | UrlFile, *, rules: Rules = ALL, codec: Codec | None = None) -> Journal:
    """Return the journal that a URL means; nothing is asked of the database yet.

    Args:
        url: ``sqlite:////absolute/path``, a bare absolute path, ``postgresql://...``, or a file with the last.
        rules: All of them, but in a negative control.
        codec: Seals values.

    Raises:
        BadConfiguration: The URL is none of these, or its driver is not installed.
    """
    if isinstance(url, UrlFile):
        return _postgres(url, rules, codec)
    if url.startswith(POSTGRES):
        return _postgres(lambda: url, rules, codec)
    if not is_state_url(url):
        raise BadConfiguration(f"a state URL has {url.partition(':')[0]!r}; this SDK serves {STATE_URLS}")
    return SqliteJournal(Path(url.removeprefix(_SQLITE)), rules=rules, codec=codec)


def is_state_url(url: str) -> bool:
    """Whether a text is a URL of a journal."""
    return url.startswith(POSTGRES) or url.removeprefix(_SQLITE).startswith("/")


def _postgres(url: Callable[[], str], rules: Rules, codec: Codec | None) -> Journal:
    try:
        from pinfleet.journal.postgres import PostgresJournal  # noqa: PLC0415 - loads the driver
    except ImportError as err:
        raise BadConfiguration(f"PostgreSQL needs its driver: pip install 'pinfleet[postgres]' ({err})") from err
    return PostgresJournal(url, rules=rules, codec=codec)
