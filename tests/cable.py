"""A line between two ends, such as an operator and the API server: what goes in can be kept, and let go later.

A network that fails does the same: nothing says so, and what was under way may still arrive when it is back,
also after its sender is gone.

While requests are held a TLS handshake still passes, or a request that needs a new connection would never be on it.
"""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Final

CHUNK_BYTES: Final = 65536
RECORD_HEAD_BYTES: Final = 5
APPLICATION_DATA: Final = 23
FINISHED: Final = 1  # of TLS 1.3's client without a certificate: the one record of this type that is no request yet

Reader = Callable[[socket.socket], Iterator[tuple[bytes, bool]]]
"""What a socket brings, piece by piece, and whether each is held when all is."""


def chunks(source: socket.socket) -> Iterator[tuple[bytes, bool]]:
    """All that comes, as it comes."""
    while data := source.recv(CHUNK_BYTES):
        yield data, True


def records(source: socket.socket) -> Iterator[tuple[bytes, bool]]:
    """A TLS client's records; what belongs to its handshake is not held."""
    file, encrypted = source.makefile("rb"), 0
    while len(head := file.read(RECORD_HEAD_BYTES)) == RECORD_HEAD_BYTES:
        encrypted += head[0] == APPLICATION_DATA
        yield head + file.read(int.from_bytes(head[3:])), encrypted > FINISHED


class Cable:
    """Listens on a port of its own and passes everything on to another; `close` it.

    Args:
        port: Where it leads.
        read: What the near end sends, and whether it is held when all is: chunks, or a TLS client's records.
    """

    def __init__(self, port: int, read: Reader = records) -> None:
        self._to = port
        self._read = read
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._up, self._down = threading.Event(), threading.Event()
        self._sockets: set[socket.socket] = set()
        self._holding: set[int] = set()  # connections on which something that the near end sent is kept
        threading.Thread(target=self._accept, daemon=True).start()
        self.mend()

    @property
    def connections_held(self) -> int:
        """On how many connections something that the near end sent is kept."""
        return len(self._holding)

    def hold(self) -> None:
        """Keep what the near end sends; what it is sent still arrives."""
        self._up.clear()

    def hold_answers(self) -> None:
        """Keep what the near end is sent; what it sends still arrives."""
        self._down.clear()

    def cut(self) -> None:
        """Keep what either side sends."""
        self._up.clear()
        self._down.clear()

    def mend(self) -> None:
        """Let everything go."""
        self._up.set()
        self._down.set()

    def close(self) -> None:
        """End every connection."""
        self.mend()
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._sockets.add(near)
                try:
                    self._join(near, socket.create_connection(("127.0.0.1", self._to)))
                except ConnectionError:
                    near.close()  # nobody is there now

    def _join(self, near: socket.socket, far: socket.socket) -> None:
        self._sockets.add(far)
        for ends in ((near, far, self._up, self._read), (far, near, self._down, chunks)):
            threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, is_open: threading.Event, read: Reader) -> None:
        """Until either end is closed; what was read before the source closed is still passed on.

        Where something was kept, the end of its sender is not: a request whose sender hangs up is given up.
        """
        was_held = False
        with contextlib.suppress(OSError):
            for data, is_request in read(source):
                if is_request and not is_open.is_set():
                    was_held = True
                    self._holding.add(source.fileno())
                    is_open.wait()
                sink.sendall(data)
        if not was_held:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
