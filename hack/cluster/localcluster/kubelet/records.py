"""What is known of one container, in memory and on disk, so that a restarted kubelet goes on where it was."""

import json
import uuid
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path


def now() -> str:
    """The time as the API writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_id() -> str:
    """A fresh container id."""
    return uuid.uuid4().hex


@dataclass(frozen=True)
class Ended:
    """One ended execution."""

    exit_code: int  # 128 + n after signal n
    reason: str  # Completed, Error, StartError or ContainerStatusUnknown
    message: str  # the termination message; may be empty
    started_at: str  # RFC 3339
    finished_at: str  # RFC 3339
    container_id: str  # of this execution


@dataclass
class Record:
    """A container's history; everything but the last four fields is kept on disk."""

    container_id: str = ""  # of the latest execution
    restarts: int = 0  # how often it was started again
    started_at: str = ""  # RFC 3339, of the latest execution; empty before the first
    ended: Ended | None = None  # how the latest execution ended; None while it runs
    last: Ended | None = None  # how the one before ended
    waiting: tuple[str, str] | None = ("ContainerCreating", "")  # reason and message; wins over the above
    is_ready: bool = False  # what the readiness probe says
    is_started: bool = False  # what the startup probe says
    image: str = ""  # as resolved; empty before the first start

    def begin(self, container_id: str, image: str) -> None:
        """A new execution is about to start."""
        if self.ended is not None:
            self.last = self.ended
            self.restarts += 1
        self.container_id = container_id
        self.image = image
        self.ended = None
        self.started_at = now()
        self.is_ready = self.is_started = False

    def finish(self, exit_code: int, reason: str, message: str) -> None:
        """The execution ended."""
        self.ended = Ended(exit_code, reason, message, self.started_at or now(), now(), self.container_id)
        self.waiting = None
        self.is_ready = self.is_started = False

    @property
    def is_running(self) -> bool:
        """Whether it is shown as running."""
        return self.waiting is None and bool(self.started_at) and self.ended is None

    def save(self, path: Path) -> None:
        """Write the lasting part, replaced atomically."""
        scratch = path.with_name(f".{path.name}.new")
        scratch.write_text(json.dumps(asdict(self)))
        scratch.replace(path)

    @classmethod
    def load(cls, path: Path) -> "Record":
        """What was saved; a fresh record when there is nothing."""
        try:
            saved = json.loads(path.read_text())
        except (FileNotFoundError, ValueError):
            return cls()
        for key in ("ended", "last"):
            saved[key] = Ended(**saved[key]) if saved[key] else None
        record = cls(**saved | {"waiting": None, "is_ready": False, "is_started": False})
        if not record.started_at:
            record.waiting = ("ContainerCreating", "")
        return record
