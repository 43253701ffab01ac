"""Loopback addresses for pods, from 127.n.1.1 upwards; none is given again until all were given."""

from pathlib import Path

_HOSTS = 254
_CAPACITY = _HOSTS * _HOSTS


class Addresses:
    """The counter, kept in a file so that a restarted kubelet goes on where it was.

    Args:
        octet: n of 127.n.0.0/16.
        file: where the count is kept.
    """

    def __init__(self, octet: int, file: Path) -> None:
        self._octet = octet
        self._file = file
        self._count = int(file.read_text()) if file.exists() else 0

    def next(self) -> str:
        """A fresh address."""
        address = address_of(self._octet, self._count % _CAPACITY)
        self._count += 1
        scratch = self._file.with_suffix(".new")
        scratch.write_text(str(self._count))
        scratch.replace(self._file)
        return address


def address_of(octet: int, index: int) -> str:
    """The index-th pod address: 127.n.1.1, 127.n.1.2, ... 127.n.254.254."""
    return f"127.{octet}.{index // _HOSTS + 1}.{index % _HOSTS + 1}"
