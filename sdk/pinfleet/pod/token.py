"""The bearer tokens that this pod knows: a file, read again when it changes.

The file holds one token a line; two are valid while one is rotated.
"""

import hmac
import logging
from pathlib import Path
from typing import Final

_LOG: Final = logging.getLogger("pinfleet.pod")
_SCHEME: Final = "Bearer "


class Tokens:
    """Checks the Authorization header.

    Args:
        path: Mounted from the version's Secret.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._tokens: tuple[bytes, ...] = ()

    def allows(self, header: str) -> bool:
        """Whether the header carries a token that is valid now."""
        if not header.startswith(_SCHEME):
            return False
        given = header.removeprefix(_SCHEME).strip().encode("utf-8", "surrogateescape")
        matches = [hmac.compare_digest(given, token) for token in self._current()]
        return any(matches)

    def _current(self) -> tuple[bytes, ...]:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_size, status.st_ino)
            if seen != self._seen:
                lines = self._path.read_bytes().splitlines()
                self._tokens = tuple(line.strip() for line in lines if line.strip())
                self._seen = seen
        except OSError as err:
            _LOG.warning("cannot read the token file; the tokens read before stay valid", extra={"cause": str(err)})
        return self._tokens
