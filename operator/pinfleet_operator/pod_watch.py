"""The sink of the pods' watch: a pod is what its owner reference says, whatever somebody does to its labels.

The watch selects pods by label. A label that is taken off looks like a deletion, and a deletion is the licence to start
the pod's runs elsewhere: so one that did not show before is confirmed by a GET. Labels are put back.
"""

import asyncio
from collections.abc import Coroutine

import msgspec
import structlog

from pinfleet_operator.api import keys
from pinfleet_operator.api.child import PodRecord, decode_pod
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import ClusterError, NotFound, NotLeader
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import PODS
from pinfleet_operator.store import Store

RETRY_SECONDS = 1.0

log = structlog.get_logger()


class PodWatch:
    """Takes what the reflector sees into the store."""

    def __init__(self, *, store: Store, kube: Kube, clock: Clock) -> None:
        self._store, self._kube, self._clock = store, kube, clock
        self._tasks: set[asyncio.Task[None]] = set()

    def replace(self, items: list[PodRecord], resource_version: str) -> None:
        """The whole collection."""
        self._store.pods.replace(items, resource_version)
        for pod in items:
            self._check_labels(pod)

    def upsert(self, item: PodRecord, resource_version: str) -> None:
        """A pod was added or changed."""
        self._store.pods.upsert(item, resource_version)
        self._check_labels(item)

    def remove(self, item: PodRecord, resource_version: str) -> None:
        """A pod is gone, or its labels are."""
        known = self._store.pods.get(item.uid) or item
        if item.deleting or known.deleting or known.is_terminal or not item.version_uid:
            self._store.pods.remove(item, resource_version)
        else:
            self._start(self._confirm(known, resource_version))

    def bookmark(self, resource_version: str) -> None:
        """Nothing else happened."""
        self._store.pods.bookmark(resource_version)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _confirm(self, pod: PodRecord, resource_version: str) -> None:
        """Whether a pod that left the watch without a deletion before is gone."""
        while True:
            try:
                found = decode_pod(await self._kube.get(PODS, pod.namespace, pod.name))
            except NotFound:
                self._store.pods.remove(pod, resource_version)
                return
            except ClusterError as err:
                log.warning("pod_not_confirmed", pod=pod.name, namespace=pod.namespace, cause=str(err))
                await self._clock.sleep(RETRY_SECONDS)
                continue
            if found.uid != pod.uid:
                self._store.pods.remove(pod, resource_version)
                return
            await self._put_labels_back(found)
            return

    def _check_labels(self, pod: PodRecord) -> None:
        version = self._store.versions.get(pod.version_uid)
        if version is not None and (pod.fleet, pod.version) != (version.fleet, version.id) and not pod.deleting:
            self._start(self._put_labels_back(pod))

    async def _put_labels_back(self, pod: PodRecord) -> None:
        version = self._store.versions.get(pod.version_uid)
        if version is None:
            return
        labels = {
            keys.LABEL_FLEET: version.fleet,
            keys.LABEL_FLEET_UID: version.fleet_uid,
            keys.LABEL_VERSION: version.id,
        }
        body = {"metadata": {"labels": labels, "uid": pod.uid}}
        log.warning("labels_put_back", pod=pod.name, namespace=pod.namespace)
        try:
            self._store.put_pod(await self._kube.merge_patch(PODS, pod.namespace, pod.name, msgspec.json.encode(body)))
        except (ClusterError, NotLeader) as err:  # a standby writes nothing; the leader has seen it too
            log.debug("labels_not_put_back", pod=pod.name, namespace=pod.namespace, cause=str(err))
