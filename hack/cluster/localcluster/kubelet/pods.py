"""One pod's life on a node: volumes, init containers, containers, status, deletion in the real kubelet's order."""

import asyncio
import contextlib
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from localcluster.bootstrap import MISBEHAVE, NETWORK
from localcluster.kubelet import launches
from localcluster.kubelet import status as statuses
from localcluster.kubelet.addresses import Addresses
from localcluster.kubelet.api import FAILURES, Api, ApiError, Object
from localcluster.kubelet.containers import LEAST_GRACE_SECONDS, Container
from localcluster.kubelet.contract import Files
from localcluster.kubelet.environment import BadConfig
from localcluster.kubelet.forwarder import Forwarder
from localcluster.kubelet.images import Images
from localcluster.kubelet.objects import Objects
from localcluster.kubelet.placement import Placement
from localcluster.kubelet.records import now
from localcluster.kubelet.refusals import refusals
from localcluster.kubelet.reports import Reporter
from localcluster.kubelet.runtime import Launch
from localcluster.kubelet.volumes import Place, Volumes
from localcluster.layout import Facts, Layout

_RETRY_SECONDS = 0.5
_REFRESH_SECONDS = 2.0
_LOST = "The container could not be located when the pod was terminated"

log = logging.getLogger("kubelet.pod")


@dataclass(frozen=True)
class Node:
    """What pods of one node share."""

    name: str  # the node
    layout: Layout  # paths of the cluster
    facts: Facts  # what `up` chose
    api: Api  # the node's client
    objects: Objects  # what pods name
    images: Images  # the images in use
    addresses: Addresses  # fresh pod addresses

    @property
    def host(self) -> str:
        """The node's address."""
        return self.facts.node_address(self.name)


class Pod:
    """One pod; the `Host` of its containers."""

    def __init__(self, node: Node, pod: Object) -> None:
        self.node = node
        self.object = pod
        self.images = node.images
        self.backoff_seconds = node.facts.backoff_seconds
        self._reporter = Reporter(node.api, pod, self._status)
        self.speaking = self._reporter.speaking
        self.folder = node.layout.pods / pod["metadata"]["uid"]
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "home").mkdir(exist_ok=True)
        self._placement = Placement.load(self.folder / "placement.json") or self._place(pod)
        self.address = self._placement.address
        self._forwarder = Forwarder(self._placement.front, self.address) if self._placement.front else None
        self._volumes = Volumes(node.objects, Place(self.folder / "volumes", self.address, node.host))
        self._folders: dict[str, Path] | None = None
        self.inits = self._make("initContainers")
        self.containers = self._make("containers")
        self._deleting = asyncio.Event()
        self._grace_seconds = LEAST_GRACE_SECONDS  # of an object that goes without notice
        self._was_over = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        self._is_over = False
        self.update(pod)

    def _place(self, pod: Object) -> Placement:
        """Take fresh addresses and record them."""
        is_proxied = (pod["metadata"].get("annotations") or {}).get(NETWORK) == "proxied"
        front = self.node.addresses.next() if is_proxied else ""
        placement = Placement(self.node.addresses.next(), front, now())
        placement.save(self.folder / "placement.json")
        return placement

    def _make(self, kind: str) -> list[Container]:
        meta = self.object["metadata"]
        logs = self.node.layout.logs / "pods" / f"{meta['namespace']}_{meta['name']}_{meta['uid']}"
        return [
            Container(self, spec, Files(self.folder, logs, spec["name"]), is_init=kind == "initContainers")
            for spec in self.object["spec"].get(kind) or []
        ]

    # what containers ask for

    def touch(self) -> None:
        """Something changed: the status may have to be written."""
        self._reporter.touch()

    def misbehaviour(self) -> str:
        """The annotation's value; empty when it behaves."""
        return str((self.object["metadata"].get("annotations") or {}).get(MISBEHAVE, ""))

    async def launch(self, spec: Object, files: Files, container_id: str, restarts: int) -> Launch:
        """How to start a container.

        Raises:
            BadConfig: it cannot be configured yet.
        """
        if refused := refusals(self.object["spec"]):
            raise BadConfig(f"this cluster's kubelet refuses: {', '.join(refused)}")
        if self._folders is None:
            raise BadConfig("its volumes are not ready")
        around = launches.Surroundings(
            state=self.node.layout.root,
            home=self.folder / "home",
            server=self.node.facts.server,
            address=self.address,
            host=self.node.host,
            volumes=self._folders,
        )
        start = launches.Start(spec, self.images.find(spec["image"]), files, container_id, restarts)
        return await launches.launch(self.object, start, around, self.node.objects)

    # what the node tells

    def update(self, pod: Object) -> None:
        """The pod as it is now."""
        before, self.object = self.misbehaviour(), pod
        after = self.misbehaviour()
        if after == "vanish" and not self._reporter.gone.is_set():
            self.speaking.clear()
        else:
            self.speaking.set()
        if before != after:
            for container in self.containers:
                container.misbehave()
        if self._forwarder:
            (self._forwarder.cut if after == "unreachable" else self._forwarder.mend)()
        if "deletionTimestamp" in pod["metadata"] and not self._deleting.is_set():
            self._grace_seconds = pod["metadata"].get("deletionGracePeriodSeconds") or 0
            self._deleting.set()  # a stop that has begun is not cut short, as in a real kubelet (its issue 113606)
        self._reporter.hear(pod)
        self.touch()

    def gone(self) -> None:
        """The object is no more: whatever still runs is stopped; it has the least grace, or what is left of its own."""
        self._reporter.gone.set()
        self._deleting.set()
        self.speaking.set()

    # the life

    async def run(self) -> None:
        """Live until the object is gone."""
        writer = None if self._was_over else asyncio.create_task(self._reporter.run())
        life = asyncio.create_task(self._live())
        for task in (writer, life):
            if task:
                task.add_done_callback(_tell_bug)
        await self._deleting.wait()
        await self.speaking.wait()
        await self._stop(life)
        await self._reporter.finish(writer)
        await self._reporter.gone.wait()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _live(self) -> None:
        """Run everything that the pod asks for, until nothing will be started again."""
        if self._was_over:
            return
        await self.speaking.wait()
        preparing = asyncio.create_task(self._prepare())
        refresher = asyncio.create_task(self._refresh(preparing))
        refresher.add_done_callback(_tell_bug)
        try:
            # what runs already is watched at once, even where a volume's Secret went away meanwhile
            if not any(one.is_adopted for one in [*self.inits, *self.containers]):
                await preparing
            if await self._run_inits():
                await asyncio.gather(*(one.run() for one in self.containers))
            self._is_over = not self._deleting.is_set()
            self.touch()
        finally:
            preparing.cancel()
            refresher.cancel()

    async def _prepare(self) -> None:
        """Open the network and make the volumes."""
        await self._connect()
        if not refusals(self.object["spec"]):
            await self._prepare_volumes()

    async def _run_inits(self) -> bool:
        """Run init containers one after the other; whether all ended well."""
        for one in self.containers if self.inits else []:
            if not one.record.started_at:
                one.record.waiting = ("PodInitializing", "")
        for init in self.inits:
            if not await init.run():
                return False
        return True

    async def _connect(self) -> None:
        """Open the front address of a proxied pod."""
        if self._forwarder is None:
            return
        ports = [port["containerPort"] for one in self.object["spec"]["containers"] for port in one.get("ports", [])]
        while True:
            try:
                await self._forwarder.start(ports)
            except OSError as err:
                self._explain(f"waiting for a port of its front address: {err}")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    def _explain(self, why: str) -> None:
        """Say why containers are not created yet."""
        for one in [*self.inits, *self.containers]:
            if one.record.waiting:
                one.record.waiting = ("ContainerCreating", why)
        self.touch()

    async def _prepare_volumes(self) -> None:
        """Make the volumes, waiting for what they need."""
        while True:
            try:
                self._folders = await self._volumes.prepare(self.object)
            except BadConfig as err:
                self._explain(f"waiting for a volume: {err}")
            except (ApiError, *FAILURES) as err:
                log.warning("cannot prepare volumes of pod %s: %r", self.folder.name, err)
            else:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _refresh(self, preparing: asyncio.Task[None]) -> None:
        """Once they are made, keep files of Secrets, ConfigMaps, tokens and the downward API up to date."""
        await preparing
        kinds = {key for volume in self.object["spec"].get("volumes", []) for key in volume}
        while kinds & {"secret", "configMap", "projected", "downwardAPI"}:
            await asyncio.sleep(_REFRESH_SECONDS)
            with contextlib.suppress(ApiError, BadConfig, *FAILURES):
                await self._volumes.prepare(self.object, is_refresh=True)

    async def _stop(self, life: asyncio.Task[None]) -> None:
        """End all containers; those that never started are reported as lost."""
        everyone = [*self.inits, *self.containers]
        for one in everyone:
            one.begin_stop()
        await asyncio.gather(*(one.stop(self._grace_seconds) for one in everyone))
        if not any(one.record.is_running for one in everyone):
            life.cancel()
        await asyncio.gather(life, return_exceptions=True)
        if self._forwarder:
            self._forwarder.stop()
        if not self._was_over:
            for one in everyone:
                if one.record.ended is None:
                    one.record.finish(137, "ContainerStatusUnknown", _LOST)
                one.record.waiting = None
            self._is_over = True

    def _status(self) -> Object:
        placement = self._placement
        facts = statuses.Facts(
            inits={one.spec["name"]: one.record for one in self.inits},
            containers={one.spec["name"]: one.record for one in self.containers},
            address=placement.front or placement.address,
            host=self.node.host,
            is_over=self._is_over,
            is_never_ready=self.misbehaviour() == "never-ready",
            begun_at=placement.begun_at,
            before=(self._reporter.written or self.object.get("status") or {}).get("conditions", []),
            now=now(),
        )
        return statuses.status(self.object, facts)


def _tell_bug(task: asyncio.Task[None]) -> None:
    """Log an exception that nobody expected."""
    if not task.cancelled() and (err := task.exception()):
        log.error("a bug in the kubelet", exc_info=err)
