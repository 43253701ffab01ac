"""What the API server is told of one pod: its status whenever that changed, and at the end its deletion.

One writer per pod, one write at a time, so that no older status lands after a newer one.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable

from localcluster.kubelet.api import CONFLICT, FAILURES, NOT_FOUND, STRATEGIC, Api, ApiError, Object, pod_path

_RETRY_SECONDS = 0.5

log = logging.getLogger("kubelet.reports")


class Reporter:
    """The writer of one pod.

    Args:
        api: the node's client.
        pod: the pod as first seen.
        compute: the status as it is now.
    """

    def __init__(self, api: Api, pod: Object, compute: Callable[[], Object]) -> None:
        self._api = api
        self._pod = pod
        self._compute = compute
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self.speaking = asyncio.Event()  # cleared while nothing is to be heard of the pod
        self.gone = asyncio.Event()  # the object is no more
        self.written: Object = {}  # the status as last written

    def hear(self, pod: Object) -> None:
        """The object as it is now: readiness that another wrote, as for a node that was late, is written again."""
        if self.written and _ready(pod.get("status", {})) != _ready(self.written):
            self.written = {}

    def touch(self) -> None:
        """Something changed: the status may have to be written."""
        self._dirty.set()

    async def run(self) -> None:
        """Write the status whenever it changed, until cancelled."""
        while True:
            await self._dirty.wait()
            await self.speaking.wait()
            self._dirty.clear()
            if not await self._write():
                self._dirty.set()
                await asyncio.sleep(_RETRY_SECONDS)

    async def finish(self, writer: asyncio.Task[None] | None) -> None:
        """Write the last status, then remove the object, as long as it is this very pod.

        Args:
            writer: the task of `run`, ended first; None when the status is final already.
        """
        if writer:
            async with self._writing:
                writer.cancel()
        while not self.gone.is_set():
            await self.speaking.wait()
            if (writer is None or await self._write()) and await self._delete():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.gone.wait(), _RETRY_SECONDS)

    async def _write(self) -> bool:
        """Write the status if it changed; whether that is settled."""
        async with self._writing:
            status = self._compute()
            if status == self.written:
                return True
            body = {"metadata": {"uid": self._pod["metadata"]["uid"]}, "status": status}
            if is_settled := await self._call("PATCH", "/status", body, STRATEGIC):
                self.written = status
            return is_settled

    async def _delete(self) -> bool:
        """Delete with grace 0; whether that is settled."""
        body = {"gracePeriodSeconds": 0, "preconditions": {"uid": self._pod["metadata"]["uid"]}}
        return await self._call("DELETE", "", body, "application/json")

    async def _call(self, method: str, tail: str, body: Object, content_type: str) -> bool:
        """Whether the server did it, or the pod is no more."""
        try:
            await self._api.call(method, pod_path(self._pod, tail), body, content_type=content_type)
        except ApiError as err:
            if err.status in (NOT_FOUND, CONFLICT):
                return True
            log.warning("%s", err)
            return False
        except FAILURES as err:
            log.warning("cannot %s %s: %r", method, pod_path(self._pod, tail), err)
            return False
        return True


def _ready(status: Object) -> str:
    return next((each["status"] for each in status.get("conditions", []) if each["type"] == "Ready"), "")
