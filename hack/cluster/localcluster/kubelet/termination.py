"""The termination message of an ended execution."""

import contextlib
import os
from pathlib import Path

from localcluster.kubelet.api import Object
from localcluster.kubelet.contract import Files

_MESSAGE_BYTES = 4096
_TAIL_BYTES, _TAIL_LINES = 2048, 80  # of FallbackToLogsOnError, as a real kubelet


def last_words(files: Files, spec: Object, code: int, restarts: int) -> str:
    """What the process wrote, or its log's tail where the policy says so; empty when there is neither."""
    with contextlib.suppress(FileNotFoundError):
        if text := files.message.read_bytes()[:_MESSAGE_BYTES]:
            return text.decode(errors="replace")
    if code == 0 or spec.get("terminationMessagePolicy") != "FallbackToLogsOnError":
        return ""
    with contextlib.suppress(FileNotFoundError):
        tail = _tail(files.log(restarts)).decode(errors="replace")
        return "".join(tail.splitlines(keepends=True)[-_TAIL_LINES:])
    return ""


def _tail(path: Path) -> bytes:
    """The last bytes of a file, whatever its size."""
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        return file.read()
