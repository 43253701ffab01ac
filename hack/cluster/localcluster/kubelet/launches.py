"""How to start one container: environment, command and paths, with all that they name fetched."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localcluster.kubelet import environment
from localcluster.kubelet.api import Object
from localcluster.kubelet.contract import Files
from localcluster.kubelet.environment import BadConfig
from localcluster.kubelet.images import Image
from localcluster.kubelet.objects import Objects
from localcluster.kubelet.runtime import Launch, marker
from localcluster.kubelet.volumes import contents
from localcluster.layout import pod_marker


@dataclass(frozen=True)
class Surroundings:
    """What is the same for all containers of a pod."""

    state: Path  # the cluster's state folder
    home: Path  # HOME of the processes
    server: str  # the API server's URL
    address: str  # the pod's own address
    host: str  # the node's address
    volumes: Mapping[str, Path]  # folder of each volume


@dataclass(frozen=True)
class Start:
    """One execution of one container."""

    spec: Object  # the container
    image: Image  # what its image stands for
    files: Files  # where its files are
    container_id: str  # of this execution
    restarts: int  # how often it was started before


async def launch(pod: Object, start: Start, around: Surroundings, objects: Objects) -> Launch:
    """Put it all together.

    Raises:
        BadConfig: something that it names is not there, or cannot be.
    """
    spec, image, files = start.spec, start.image, start.files
    mounts = environment.mounts_of(spec, around.volumes)
    real = mounts | {spec.get("terminationMessagePath") or "/dev/termination-log": files.message}
    host, port = around.server.removeprefix("https://").split(":")
    values = environment.base_environment(pod, spec, image.interpreter, (host, port))
    values |= {"HOME": str(around.home), "TERMINATION_LOG": str(files.message)}
    if environment.has_account(spec):
        values["KUBECONFIG"] = str(_kubeconfig(pod, mounts[environment.SERVICE_ACCOUNT], around))
    values = environment.merge(values, await _entries(pod, spec, around, objects), real)
    command = environment.command_of(spec, image.command, values, real)
    own = marker(start.container_id)
    log = files.log(start.restarts)
    log.parent.mkdir(parents=True, exist_ok=True)
    return Launch(
        argv=command,
        environment=values | dict(entry.split("=", 1) for entry in (pod_marker(around.state), own)),
        folder=_folder(spec, image),
        log=log,
        marker=own,
    )


def _folder(spec: Object, image: Image) -> Path:
    """The working folder: the image's, or workingDir inside it."""
    folder = image.folder / str(spec.get("workingDir", "")).lstrip("/")
    if not folder.is_dir():
        raise BadConfig(f"workingDir {spec['workingDir']} is not a folder of the image ({folder})")
    return folder


def _kubeconfig(pod: Object, account: Path, around: Surroundings) -> Path:
    """A kubeconfig for the pod's service account: clients look for the token at a fixed path that is not there."""
    context = {"cluster": "pod", "user": "pod", "namespace": pod["metadata"]["namespace"]}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "pod", "cluster": {"server": around.server, "certificate-authority": str(account / "ca.crt")}}
        ],
        "users": [{"name": "pod", "user": {"tokenFile": str(account / "token")}}],
        "contexts": [{"name": "pod", "context": context}],
        "current-context": "pod",
    }
    path = around.home / ".kubeconfig"
    path.write_text(json.dumps(config))
    return path


async def _entries(pod: Object, spec: Object, around: Surroundings, objects: Objects) -> list[tuple[str, str]]:
    """The container's own environment in order: envFrom first, then env."""
    found = []
    for source in spec.get("envFrom", []):
        kind = "secretRef" if "secretRef" in source else "configMapRef"
        entries = await _fetch(pod, kind, source[kind], objects)
        prefix = source.get("prefix", "")
        found += [(prefix + key, value.decode(errors="replace")) for key, value in sorted(entries.items())]
    for entry in spec.get("env", []):
        source = entry.get("valueFrom") or {}
        if "fieldRef" in source:
            path = source["fieldRef"]["fieldPath"]
            found.append((entry["name"], environment.field(pod, path, around.address, around.host)))
        elif source:
            found += await _keyed(pod, entry["name"], source, objects)
        else:
            found.append((entry["name"], entry.get("value", "")))
    return found


async def _keyed(pod: Object, name: str, source: Object, objects: Objects) -> list[tuple[str, str]]:
    """The entry of a secretKeyRef or configMapKeyRef; none when it is optional and not there."""
    kind = next(iter(source))
    wanted = source[kind]
    entries = await _fetch(pod, kind, wanted, objects)
    if wanted["key"] in entries:
        return [(name, entries[wanted["key"]].decode(errors="replace"))]
    if wanted.get("optional"):
        return []
    raise BadConfig(f"couldn't find key {wanted['key']} in {kind} {wanted['name']}")


async def _fetch(pod: Object, kind: str, wanted: Object, objects: Objects) -> Mapping[str, bytes]:
    """The entries of a Secret or a ConfigMap."""
    is_secret = kind.startswith("secret")
    namespace = pod["metadata"]["namespace"]
    found = await objects.get("secrets" if is_secret else "configmaps", namespace, wanted["name"])
    if found is None:
        if wanted.get("optional"):
            return {}
        raise BadConfig(f'{"secret" if is_secret else "configmap"} "{wanted["name"]}" not found')
    return contents(found)
