"""Hollow pods: one process that answers the run protocol for every pod of the bench and executes nothing.

`python -m bench.hollow` takes commands as JSON lines on stdin, answers each with one line on stdout, and ends with its
stdin. A pod is told by the address that it is called at. Runs are held until they are told to finish.
"""

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import msgspec
import uvloop

Json = dict[str, Any]
CAPACITY_ANSWERS = {"GET": 200, "PUT": 202, "POST": 200, "DELETE": 202}
REASONS = {200: b"OK", 202: b"Accepted", 204: b"No Content", 404: b"Not Found"}
BOOT = "hollow"


class Offered(msgspec.Struct):
    """What a hollow pod reads of an offer."""

    name: str
    epoch: int


_OFFER = msgspec.json.Decoder(Offered)


@dataclass
class Pod:
    """One pod's listing."""

    uid: str
    version: str
    capacity: int
    n: int = 1
    runs: dict[str, Json] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)  # run uid -> n of its last change
    polls: list[Callable[[], None]] = field(default_factory=list)  # those that wait for a change
    offered: dict[str, list[int]] = field(default_factory=dict)  # run uid -> epoch of each offer

    def answer(self, **more: Any) -> bytes:
        """An answer by the run protocol."""
        return msgspec.json.encode(
            {"protocol": 1, "version": self.version, "podUID": self.uid, "boot": BOOT, "n": self.n, **more}
        )

    def state(self, after: int, boot: str) -> bytes:
        """Everything, or what changed after `after`."""
        is_full = boot != BOOT or after > self.n
        runs = [run for uid, run in self.runs.items() if is_full or self.changed[uid] > after]
        return self.answer(capacity=self.capacity, draining=False, full=is_full, runs=runs)

    def change(self, uid: str, run: Json) -> None:
        """Note a run's new state, and answer the polls."""
        self.n += 1
        self.runs[uid], self.changed[uid] = run, self.n
        self.wake()

    def wake(self) -> None:
        """Answer every poll that waits."""
        waiting, self.polls = self.polls, []
        for poll in waiting:
            asyncio.get_running_loop().call_soon(poll)

    def offer(self, uid: str, body: bytes) -> bytes:
        """Hold a run."""
        offer = _OFFER.decode(body)
        self.offered.setdefault(uid, []).append(offer.epoch)
        self.change(uid, {"uid": uid, "name": offer.name, "epoch": offer.epoch, "state": "running", "steps": 0})
        return self.answer()

    def forget(self, uid: str) -> bytes:
        """Ack: drop a run."""
        self.n += 1
        for memory in (self.runs, self.changed, self.offered):
            memory.pop(uid, None)
        return self.answer()


class Exchange(asyncio.Protocol):
    """One connection of the operator's to one pod."""

    def __init__(self, pod: Pod) -> None:
        self._pod, self._data = pod, b""
        self._polling: Callable[[], None] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """Collect a request."""
        self._data += data
        head, end, body = self._data.partition(b"\r\n\r\n")
        if not end:
            return
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        if at >= 0 and len(body) < int(lowered[at + 15 :].split(b"\r\n", 1)[0]):
            return
        self._data = b""
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self._serve(method, path, body)

    def _serve(self, method: str, path: str, body: bytes) -> None:
        route, _, query = path.partition("?")
        if route == "/state":
            self._poll(dict(part.split("=") for part in query.split("&")))
            return
        uid = route.split("/")[2]
        if method == "PUT":
            self._send(202, self._pod.offer(uid, body))
        elif uid in self._pod.runs:
            self._send(CAPACITY_ANSWERS[method], self._pod.forget(uid))
        else:
            self._send(204, b"")

    def _poll(self, asked: dict[str, str]) -> None:
        after, boot, wait = int(asked["after"]), asked.get("boot", ""), float(asked.get("wait", "0"))
        if boot != BOOT or after != self._pod.n or wait == 0:
            self._send(200, self._pod.state(after, boot))
            return
        loop = asyncio.get_running_loop()

        def answer() -> None:
            timer.cancel()
            if self._forget_poll():
                self._send(200, self._pod.state(after, boot))

        timer = loop.call_later(wait, answer)
        self._polling = answer
        self._pod.polls.append(answer)

    def _forget_poll(self) -> bool:
        """Whether a poll waited here; it does no more."""
        polling, self._polling = self._polling, None
        if polling in self._pod.polls:
            self._pod.polls.remove(polling)
        return polling is not None

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """Nobody waits any more."""
        self._forget_poll()

    def _send(self, status: int, body: bytes) -> None:
        if self._transport.is_closing():
            return
        head = b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\n" % (status, REASONS[status])
        length = b"" if status == 204 else b"Content-Length: %d\r\n" % len(body)  # noqa: PLR2004 - it has no body
        self._transport.write(head + length + b"\r\n" + body)


class Hollow:
    """All pods, and the commands of the bench."""

    def __init__(self) -> None:
        self.pods: list[Pod] = []

    async def serve(self, address: str, port: int, uid: str, version: str, capacity: int) -> Json:
        """Answer for one more pod."""
        pod = Pod(uid, version, capacity)
        self.pods.append(pod)
        await asyncio.get_running_loop().create_server(lambda: Exchange(pod), address, port, backlog=64)
        return {}

    async def count(self) -> Json:
        """How many runs are held, and how many polls wait."""
        return {
            "held": sum(len(pod.runs) for pod in self.pods),
            "polls": sum(len(pod.polls) for pod in self.pods),
        }

    async def held(self) -> Json:
        """Every run's pod and epoch; a run on two pods shows up in `twice`."""
        found: dict[str, list[Any]] = {}
        twice = []
        for pod in self.pods:
            twice += [uid for uid in pod.runs if uid in found]
            found |= {uid: [pod.uid, run["epoch"]] for uid, run in pod.runs.items()}
        return {"runs": found, "twice": twice}

    async def offers(self) -> Json:
        """The epochs of every offer of each run that is held, on whatever pod it came."""
        found: dict[str, list[int]] = {}
        for pod in self.pods:
            for uid, epochs in pod.offered.items():
                found.setdefault(uid, []).extend(epochs)
        return found

    async def clear(self) -> Json:
        """Forget every run."""
        for pod in self.pods:
            pod.offered.clear()
            pod.runs.clear()
            pod.changed.clear()
            pod.n += 1
            pod.wake()
        return {}

    async def drop(self, name: str) -> Json:
        """Forget the runs of one name."""
        for pod in self.pods:
            for uid in [uid for uid, run in pod.runs.items() if run["name"] == name]:
                pod.forget(uid)
        return {}

    async def park(self, until: str) -> Json:
        """Let every run wait for a timer."""
        wait = {"id": "a-timer", "kind": "Timer", "name": "later", "until": until, "since": "2026-01-01T00:00:00Z"}
        for pod in self.pods:
            for uid, run in list(pod.runs.items()):
                pod.change(uid, run | {"state": "parked", "steps": 1, "waitingFor": [wait]})
        return {}

    async def finish(self) -> Json:
        """Let every run succeed."""
        for pod in self.pods:
            for uid, run in list(pod.runs.items()):
                pod.change(uid, run | {"state": "succeeded", "steps": 1, "outcome": {"result": {"answer": 42}}})
        return {}


async def main() -> None:
    """Obey until stdin ends."""
    loop, reader, hollow = asyncio.get_running_loop(), asyncio.StreamReader(), Hollow()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        command = msgspec.json.decode(line)
        answer = await getattr(hollow, command.pop("do"))(**command)
        print(msgspec.json.encode(answer).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
