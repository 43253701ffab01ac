"""`pinfleet-agent db` and `erase`: what an administrator does to a journal's database."""

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from pinfleet import cli, clock
from pinfleet.errors import JournalRefused
from pinfleet.journal.interface import Batch, Journal, Owner
from pinfleet.journal.opening import open_journal
from pinfleet.journal.postgres import PostgresJournal
from tests.postgres import PostgresServer
from tests.unit.sdk.fleets import Fleet
from tests.unit.sdk.journal_contract import DONE, claim, commit, step


def end(journal: Journal, run: str, days_ago: float) -> None:
    """End a run so long ago."""
    journal.claim(claim(1, run=run))
    ended = clock.now().wall - timedelta(days=days_ago)
    journal.commit(Owner(run, 1), Batch(steps=(step(),), end=DONE), max_steps=9, now=ended)


def test_prune(state_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What old runs did goes; younger ones stay."""
    journal = open_journal(state_url)
    end(journal, "old", 8)
    end(journal, "young", 6)
    assert cli.main(["db", "prune", "--days", "7", "--state", state_url]) == 0
    assert "pruned 1 runs" in capsys.readouterr().out
    assert [len(journal.load(run).steps) for run in ("old", "young")] == [0, 1]
    journal.close()


def test_erase(state_url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An ended run is erased; an open one is not, and the command says what to do."""
    journal = open_journal(state_url)
    end(journal, "ended", 0)
    journal.claim(claim(1, run="open"))
    assert cli.main(["erase", "ended", "--state", state_url]) == 0
    assert cli.main(["erase", "open", "--state", state_url]) == 1
    assert "cancel it first" in capsys.readouterr().out
    assert journal.load("ended").steps == {}
    journal.close()


def test_erased_text_is_gone_from_the_file(tmp_path: Path) -> None:
    """On SQLite the text itself is overwritten, in the file and in its log."""
    path = tmp_path / "journal.db"
    journal = open_journal(str(path))
    journal.claim(claim(1))
    commit(journal, Batch(steps=(step(result=b'"ann@example.org"'),), end=DONE))
    assert any(b"ann@example.org" in file.read_bytes() for file in tmp_path.iterdir())
    journal.erase("r1")
    assert not any(b"ann@example.org" in file.read_bytes() for file in tmp_path.iterdir())
    journal.close()


def test_prepare(postgres: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A schema is prepared once or often; pods then have data only: they change no table and no other fleet's rows."""
    (tmp_path / "password").write_text("s3cret\n")
    (tmp_path / "url").write_text(postgres.url())
    command = ["db", "prepare", "team_a", "--state", str(tmp_path / "url")]
    assert cli.main([*command, "--password-file", str(tmp_path / "password")]) == 0
    assert cli.main(command) == 0
    assert "pods connect as team_a_pods" in capsys.readouterr().out
    journal = PostgresJournal(lambda: postgres.url("team_a_pods", "s3cret"))
    journal.claim(claim(1))
    assert cli.main(command) == 0  # with runs in it
    assert commit(journal, Batch(steps=(step(),))).steps == 1
    journal.close()
    Fleet(postgres)  # another one
    with psycopg.connect(postgres.url("team_a_pods", "s3cret"), autocommit=True) as pods:
        for forbidden in (
            "DROP TABLE step",
            "ALTER TABLE run ADD COLUMN more text",
            "CREATE TABLE more (n int)",
            "UPDATE meta SET value = '9'",
            f"SELECT * FROM {other(postgres)}.run",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                pods.execute(forbidden)


def other(postgres: PostgresServer) -> str:
    """Return the schema of another fleet on the server."""
    with postgres.connect() as db:
        found = db.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'fleet%' LIMIT 1").fetchone()
    assert found is not None
    return str(found[0])


@pytest.mark.parametrize("name", ["Team", "a-b", "1a", "x;drop", ""])
def test_wrong_names(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that would have to be quoted is refused."""
    assert cli.main(["db", "prepare", name, "--state", "postgresql://h/d"]) == 2
    assert "no name for a schema" in capsys.readouterr().err


def test_newer_major(fleet: Fleet) -> None:
    """Another major is another contract: pods and `db prepare` refuse it by name; a newer minor is served."""
    with fleet.server.connect() as admin:
        admin.execute(f"UPDATE {fleet.roles.schema}.meta SET value = '99' WHERE key = 'minor'")
        fleet.prepare()
        journal = fleet.journal()
        journal.check()
        minor = f"SELECT value FROM {fleet.roles.schema}.meta WHERE key = 'minor'"
        assert admin.execute(minor).fetchone() == ("99",)
        admin.execute(f"UPDATE {fleet.roles.schema}.meta SET value = '2' WHERE key = 'major'")
    journal.close()
    with pytest.raises(JournalRefused, match="major 2; this SDK knows 1"):
        journal.check()
    with pytest.raises(JournalRefused, match="major 2; this SDK knows 1"):
        fleet.prepare()


def test_no_journal_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A command without a URL says where it looks."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PINFLEET_STATE_URL", raising=False)
    monkeypatch.delenv("PINFLEET_STATE_URL_FILE", raising=False)
    assert cli.main(["erase", "r1"]) == 2
    assert "--state says where it is" in capsys.readouterr().err
