"""Volumes as folders: what is in them, and how their files are replaced.

Files of Secrets, ConfigMaps, the downward API and projections are replaced all at once through the `..data` link, as a
real kubelet does, within a few seconds of a change.
"""

import base64
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcluster.kubelet.api import Object
from localcluster.kubelet.environment import BadConfig, field
from localcluster.kubelet.objects import Objects

_DEFAULT_MODE = 0o644
_TOKEN_SECONDS = 3600
_MAX_AGE_SECONDS = 1.5  # of an answer that a refresh may use


@dataclass(frozen=True)
class File:
    """One file of a volume."""

    content: bytes  # what is in it
    mode: int  # permission bits


Payload = dict[str, File]


@dataclass(frozen=True)
class Place:
    """Where the pod is."""

    folder: Path  # the pod's volumes
    address: str  # its own address
    host: str  # its node's address


class Volumes:
    """The volumes of one pod."""

    def __init__(self, objects: Objects, place: Place) -> None:
        self._objects = objects
        self._place = place

    async def prepare(self, pod: Object, *, is_refresh: bool = False) -> dict[str, Path]:
        """Make or refresh every volume.

        Returns:
            The folder of each volume by name.

        Raises:
            BadConfig: something that a volume needs is not there yet.
        """
        folders = {}
        for volume in pod["spec"].get("volumes", []):
            folder = self._place.folder / volume["name"]
            if claim := volume.get("persistentVolumeClaim"):
                folders[volume["name"]] = await self._claim(pod, claim["claimName"])
                continue
            folder.mkdir(parents=True, exist_ok=True)
            folders[volume["name"]] = folder
            if "emptyDir" not in volume:
                payload = await self._payload(pod, volume, _MAX_AGE_SECONDS if is_refresh else 0)
                write_payload(folder, payload)
        return folders

    async def _claim(self, pod: Object, name: str) -> Path:
        namespace = pod["metadata"]["namespace"]
        claim = await self._objects.get("persistentvolumeclaims", namespace, name, max_age_seconds=_MAX_AGE_SECONDS)
        if claim is None:
            raise BadConfig(f'persistentvolumeclaim "{name}" not found')
        if claim.get("status", {}).get("phase") != "Bound":
            raise BadConfig(f'persistentvolumeclaim "{name}" is not bound')
        volume = await self._objects.get("persistentvolumes", "", claim["spec"]["volumeName"], max_age_seconds=3600)
        path = ((volume or {}).get("spec", {}).get("hostPath") or {}).get("path")
        if not path:
            raise BadConfig(f'persistentvolumeclaim "{name}" is not of the storage class of this cluster')
        return Path(path)

    async def _payload(self, pod: Object, volume: Object, max_age: float) -> Payload:
        """The files of one volume."""
        if projected := volume.get("projected"):
            mode = projected.get("defaultMode", _DEFAULT_MODE)
            payload: Payload = {}
            for source in projected.get("sources") or []:
                payload |= await self._source(pod, source, mode, max_age)
            return payload
        kind = next(key for key in ("secret", "configMap", "downwardAPI") if key in volume)
        source = {kind: volume[kind] | {"name": volume[kind].get("secretName") or volume[kind].get("name")}}
        return await self._source(pod, source, volume[kind].get("defaultMode", _DEFAULT_MODE), max_age)

    async def _source(self, pod: Object, source: Object, mode: int, max_age: float) -> Payload:
        """The files of one source, in the form that projections use."""
        if token := source.get("serviceAccountToken"):
            seconds = token.get("expirationSeconds", _TOKEN_SECONDS)
            text = await self._objects.token(pod, token.get("audience"), seconds)
            return {token["path"]: File(text.encode(), 0o600)}
        if downward := source.get("downwardAPI"):
            return {
                item["path"]: File(self._field(pod, item).encode(), item.get("mode", mode))
                for item in downward.get("items", [])
            }
        kind, plural = ("secret", "secrets") if "secret" in source else ("configMap", "configmaps")
        wanted = source[kind]
        namespace = pod["metadata"]["namespace"]
        found = await self._objects.get(plural, namespace, wanted["name"], max_age_seconds=max_age)
        if found is None:
            if wanted.get("optional"):
                return {}
            raise BadConfig(f'{kind.lower()} "{wanted["name"]}" not found')
        return _select(contents(found), wanted, mode, f'{kind.lower()} "{wanted["name"]}"')

    def _field(self, pod: Object, item: Object) -> str:
        return field(pod, item["fieldRef"]["fieldPath"], self._place.address, self._place.host)


def contents(source: Object) -> dict[str, bytes]:
    """The entries of a Secret or a ConfigMap."""
    if source.get("kind", "Secret") == "Secret" or "type" in source:
        return {key: base64.b64decode(value) for key, value in (source.get("data") or {}).items()}
    binary = {key: base64.b64decode(value) for key, value in (source.get("binaryData") or {}).items()}
    return {key: value.encode() for key, value in (source.get("data") or {}).items()} | binary


def _select(entries: Mapping[str, bytes], wanted: Object, mode: int, what: str) -> Payload:
    """All entries, or the listed items under their paths."""
    items = wanted.get("items")
    if not items:
        return {key: File(value, mode) for key, value in entries.items()}
    payload = {}
    for item in items:
        if item["key"] in entries:
            payload[item["path"]] = File(entries[item["key"]], item.get("mode", mode))
        elif not wanted.get("optional"):
            raise BadConfig(f'{what} has no key "{item["key"]}"')
    return payload


def write_payload(folder: Path, payload: Payload) -> bool:
    """Make the folder hold exactly these files, all changed in one step.

    Returns:
        Whether anything changed.
    """
    data = folder / "..data"
    if data.is_dir() and _read_payload(data) == payload:
        return False
    fresh = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    fresh.chmod(0o755)
    for name, file in payload.items():
        path = fresh / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_bytes(file.content)
        path.chmod(file.mode)
    old = data.resolve() if data.is_symlink() else None
    link = folder / "..data_tmp"
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    link.replace(data)
    tops = {name.split("/")[0] for name in payload}
    for top in tops:
        if not (folder / top).is_symlink():
            (folder / top).symlink_to(f"..data/{top}")
    for entry in folder.iterdir():
        if entry.is_symlink() and not entry.name.startswith("..") and entry.name not in tops:
            entry.unlink()
    if old and old != fresh:
        shutil.rmtree(old, ignore_errors=True)
    return True


def _read_payload(data: Path) -> Payload:
    """What the folder holds now."""
    real = data.resolve()
    return {
        os.fspath(path.relative_to(real)): File(path.read_bytes(), path.stat().st_mode & 0o777)
        for path in real.rglob("*")
        if path.is_file()
    }
