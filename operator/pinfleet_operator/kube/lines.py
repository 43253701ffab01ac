"""Cuts a byte stream into lines. Pure, but for the stream."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Final

LINE_LIMIT_BYTES: Final = 32 * 1024 * 1024  # an object has at most 1.5 MiB in etcd; more than this is not Kubernetes


async def split_lines(chunks: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The lines of a stream without their ends; linear in time also where one line spans many chunks.

    Raises:
        ValueError: the stream ended within a line, or a line is too long.
    """
    pending: list[bytes] = []
    size = 0
    async for chunk in chunks:
        head, newline, rest = chunk.partition(b"\n")
        pending.append(head)
        size += len(head)
        if size > LINE_LIMIT_BYTES:
            raise ValueError(f"a line of more than {LINE_LIMIT_BYTES} bytes")
        if not newline:
            continue
        yield b"".join(pending)
        *lines, tail = rest.split(b"\n")
        for line in lines:
            yield line
        pending, size = [tail], len(tail)
    if size:
        raise ValueError("the stream ended within a line")
