"""The provisioner of the StorageClass `localcluster`: a claim becomes a volume whose folder lies in the state folder.

The same claim is the same folder on every node, since there is one machine.
"""

import asyncio
import logging
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

from localcluster.bootstrap import PROVISIONER_NAME, STORAGE_CLASS
from localcluster.kubelet.api import CONFLICT, FAILURES, NOT_FOUND, Api, ApiError, Listed, Object

_CLAIMS = "/api/v1/persistentvolumeclaims"
_VOLUMES = "/api/v1/persistentvolumes"
_RETRY_SECONDS = 0.5
_SERVER_ERROR = 500

Act = Callable[[Object], Awaitable[None]]

log = logging.getLogger("kubelet.claims")


class Provisioner:
    """Makes volumes for claims, and removes released ones.

    Args:
        api: the provisioner's client.
        folder: where the folders of volumes are.
        mode: of each of them; what the process's umask leaves is not taken away from it.
    """

    def __init__(self, api: Api, folder: Path, mode: int = 0o755) -> None:
        self._api, self._folder, self._mode = api, folder, mode

    async def run(self) -> None:
        """Provision for ever."""
        await asyncio.gather(self._follow(_CLAIMS, self._provide), self._follow(_VOLUMES, self._reclaim))

    async def _follow(self, path: str, act: Act) -> None:
        async for event in self._api.follow(path, {}):
            items = event.items if isinstance(event, Listed) else [event.object] if event.type != "DELETED" else []
            for item in items:
                await self._insist(act, item)

    async def _insist(self, act: Act, item: Object) -> None:
        """Act on one object, again until the server took it; one that it refuses is told and left."""
        while True:
            try:
                await act(item)
            except ApiError as err:
                if err.status < _SERVER_ERROR:
                    if err.status not in (CONFLICT, NOT_FOUND):
                        log.warning("%s", err)
                    return
            except FAILURES as err:
                log.warning("cannot provision: %r", err)
            else:
                return
            await asyncio.sleep(_RETRY_SECONDS)

    async def _provide(self, claim: Object) -> None:
        """Make the volume of a pending claim of ours."""
        meta, spec = claim["metadata"], claim["spec"]
        if spec.get("storageClassName") != STORAGE_CLASS or spec.get("volumeName") or "deletionTimestamp" in meta:
            return
        name = f"pvc-{meta['uid']}"
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(self._mode)
        await self._api.call("POST", _VOLUMES, volume(name, folder, claim))

    async def _reclaim(self, found: Object) -> None:
        """Remove a released volume of ours, with its folder, unless it is to be kept."""
        meta, spec = found["metadata"], found["spec"]
        is_ours = meta.get("annotations", {}).get("pv.kubernetes.io/provisioned-by") == PROVISIONER_NAME
        is_released = found.get("status", {}).get("phase") == "Released"
        if not is_ours or not is_released or spec.get("persistentVolumeReclaimPolicy") != "Delete":
            return
        if "deletionTimestamp" not in meta:
            await self._api.call("DELETE", f"{_VOLUMES}/{meta['name']}")
        await asyncio.to_thread(shutil.rmtree, self._folder / meta["name"], ignore_errors=True)


def volume(name: str, folder: Path, claim: Object) -> Object:
    """The manifest of a claim's volume."""
    meta, spec = claim["metadata"], claim["spec"]
    reference = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
    }
    return {
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER_NAME}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": reference,
            "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
        },
    }
