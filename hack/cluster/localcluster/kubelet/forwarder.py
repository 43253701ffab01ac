"""The network of a proxied pod: a front address that forwards its container ports to the process, and can be cut.

While it is cut, open connections stall and new ones are taken and never answered, as behind a broken link. When it is
mended they are reset.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_CHUNK = 65_536

log = logging.getLogger("kubelet.forwarder")


class Forwarder:
    """Forwards ports of one front address to the same ports of one back address."""

    def __init__(self, front: str, back: str) -> None:
        self.front = front
        self._back = back
        self._open = asyncio.Event()
        self._open.set()
        self._servers: list[asyncio.Server] = []
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self, ports: list[int]) -> None:
        """Listen on these ports of the front address.

        Raises:
            OSError: somebody else listens there.
        """
        self._close()
        for port in ports:
            self._servers.append(await asyncio.start_server(self._handler(port), self.front, port))

    def cut(self) -> None:
        """Break the link."""
        self._open.clear()

    def mend(self) -> None:
        """Mend the link; connections of the time before are reset."""
        if not self._open.is_set():
            self._reset()
            self._open.set()

    def stop(self) -> None:
        """Close everything."""
        self._close()
        self._reset()
        self._open.set()

    def _close(self) -> None:
        """Close the listeners."""
        while self._servers:
            self._servers.pop().close()

    def _reset(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def _handler(self, port: int) -> Handler:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            try:
                await self._open.wait()
                await self._forward(reader, writer, port)
            except OSError:
                writer.transport.abort()
            finally:
                self._writers.discard(writer)
                writer.close()

        return handle

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int) -> None:
        """Pump both ways until both sides have ended."""
        back_reader, back_writer = await asyncio.open_connection(self._back, port)
        self._writers.add(back_writer)
        try:
            await asyncio.gather(self._pump(reader, back_writer), self._pump(back_reader, writer))
        finally:
            self._writers.discard(back_writer)
            back_writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy one way; hold what was read while the link is cut."""
        while chunk := await reader.read(_CHUNK):
            await self._open.wait()
            writer.write(chunk)
            await writer.drain()
        await self._open.wait()
        with contextlib.suppress(OSError, RuntimeError):
            writer.write_eof()
