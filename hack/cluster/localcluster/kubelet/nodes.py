"""One node: follows the pods bound to it and gives each a life of its own."""

import asyncio
import logging

from localcluster.kubelet.api import Listed, Object
from localcluster.kubelet.logserver import LogServer
from localcluster.kubelet.node import Presence
from localcluster.kubelet.pods import Node, Pod

log = logging.getLogger("kubelet.nodes")


class NodeAgent:
    """Runs the pods of one node."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._pods: dict[str, Pod] = {}
        self._lives: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Serve logs, be present and run pods, for ever."""
        port = await LogServer(self._node.name, self._node.layout.pki, self._pods).start(self._node.host)
        presence = Presence(self._node.api, self._node.name, self._node.host, port)
        await asyncio.gather(presence.run(), self._follow())

    async def _follow(self) -> None:
        selector = {"fieldSelector": f"spec.nodeName={self._node.name}"}
        async for event in self._node.api.follow("/api/v1/pods", selector):
            if isinstance(event, Listed):
                present = {item["metadata"]["uid"] for item in event.items}
                for uid in self._pods.keys() - present:
                    self._pods[uid].gone()
                for item in event.items:
                    self._try_to_see(item)
            elif event.type == "DELETED":
                if pod := self._pods.get(event.object["metadata"]["uid"]):
                    pod.gone()
            else:
                self._try_to_see(event.object)

    def _try_to_see(self, item: Object) -> None:
        """One bad pod never stalls another."""
        try:
            self._see(item)
        except Exception:
            log.exception("a bug in seeing pod %s", item["metadata"]["name"])

    def _see(self, item: Object) -> None:
        """A pod as it is now."""
        uid = item["metadata"]["uid"]
        if uid in self._pods:
            self._pods[uid].update(item)
            return
        pod = self._pods[uid] = Pod(self._node, item)
        task = asyncio.create_task(pod.run())
        self._lives.add(task)

        def over(done: asyncio.Task[None]) -> None:
            self._lives.discard(done)
            self._pods.pop(uid, None)
            if not done.cancelled() and (err := done.exception()):
                log.error("a bug in the life of pod %s", uid, exc_info=err)

        task.add_done_callback(over)
