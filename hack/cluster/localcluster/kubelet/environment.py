"""The environment, command and paths of one container: pure, from a pod and the values that were fetched for it.

There is no mount namespace, so a path that begins with a mountPath is rewritten to the real folder behind the mount:
in environment values, and in words of the command (also after a first `=`). Nothing inside files is rewritten.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from localcluster.kubelet.api import Object

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
_REFERENCE = re.compile(r"\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)")
_KEYED = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


class BadConfig(Exception):
    """The container cannot be configured: shown as CreateContainerConfigError, tried again."""


def expand(text: str, values: Mapping[str, str]) -> str:
    """Replace $(NAME) by its value; unknown names stay, $$ is one $."""

    def one(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else values.get(match[1], match[0])

    return _REFERENCE.sub(one, text)


def rewrite(text: str, mounts: Mapping[str, Path]) -> str:
    """The text with a leading mountPath replaced by the real folder; the longest mountPath wins."""
    for mount in sorted(mounts, key=len, reverse=True):
        bare = mount.rstrip("/")
        if bare and (text == bare or text.startswith(bare + "/")):
            return str(mounts[mount]) + text[len(bare) :]
    return text


def rewrite_word(text: str, mounts: Mapping[str, Path]) -> str:
    """As `rewrite`, and also behind the first `=`, as in --db=/data/file."""
    head, equals, tail = text.partition("=")
    if equals and not text.startswith("/"):
        return head + equals + rewrite(tail, mounts)
    return rewrite(text, mounts)


def field(pod: Object, path: str, address: str, host: str) -> str:
    """The value of a downward API field.

    Args:
        pod: the pod.
        path: the fieldPath.
        address: the pod's own address, which its process binds.
        host: the node's address.

    Raises:
        BadConfig: the field is not supported.
    """
    meta, spec = pod["metadata"], pod["spec"]
    if keyed := _KEYED.fullmatch(path):
        return str((meta.get(keyed[1]) or {}).get(keyed[2], ""))
    simple = {
        "metadata.name": meta["name"],
        "metadata.namespace": meta["namespace"],
        "metadata.uid": meta["uid"],
        "spec.nodeName": spec["nodeName"],
        "spec.serviceAccountName": spec.get("serviceAccountName", "default"),
        "status.podIP": address,
        "status.podIPs": address,
        "status.hostIP": host,
        "status.hostIPs": host,
    }
    for whole in ("labels", "annotations"):
        lines = sorted((meta.get(whole) or {}).items())
        simple[f"metadata.{whole}"] = "\n".join(f'{key}="{_escaped(value)}"' for key, value in lines)
    if path not in simple:
        raise BadConfig(f"fieldRef {path} is not supported by this kubelet")
    return str(simple[path])


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def mounts_of(container: Object, volumes: Mapping[str, Path]) -> dict[str, Path]:
    """MountPath -> real folder of one container.

    Raises:
        BadConfig: a subPath leaves its volume.
    """
    mounts = {}
    for mount in container.get("volumeMounts", []):
        real = volumes[mount["name"]]
        if sub := mount.get("subPath"):
            if ".." in PurePosixPath(sub).parts:
                raise BadConfig(f"subPath {sub} must not contain ..")
            real = real / sub
            if not real.exists():
                real.mkdir(parents=True)
        mounts[mount["mountPath"]] = real
    return mounts


def base_environment(pod: Object, container: Object, interpreter: Path, server: tuple[str, str]) -> dict[str, str]:
    """What every container gets before its own entries.

    Args:
        pod: the pod.
        container: the container.
        interpreter: the image's python; its folder comes first on PATH.
        server: host and port of the API server.
    """
    values = {
        "PATH": f"{interpreter.parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOSTNAME": pod["spec"].get("hostname") or pod["metadata"]["name"],
        "HOME": "/",
        "LANG": "C.UTF-8",
    }
    if has_account(container):
        values |= {"KUBERNETES_SERVICE_HOST": server[0], "KUBERNETES_SERVICE_PORT": server[1]}
    return values


def has_account(container: Object) -> bool:
    """Whether a service account token is mounted at its usual place."""
    return any(mount["mountPath"] == SERVICE_ACCOUNT for mount in container.get("volumeMounts", []))


def merge(base: dict[str, str], entries: list[tuple[str, str]], mounts: Mapping[str, Path]) -> dict[str, str]:
    """Add entries in order: paths rewritten first, then $(NAME) expanded from what stands before."""
    values = dict(base)
    for name, raw in entries:
        values[name] = expand(rewrite(raw, mounts), values)
    return values


def command_of(
    container: Object, image: tuple[str, ...], values: Mapping[str, str], mounts: Mapping[str, Path]
) -> list[str]:
    """The words to run.

    Raises:
        BadConfig: neither the pod nor images.yaml names a command.
    """
    words = [*(container.get("command") or image), *container.get("args", [])]
    if not words:
        raise BadConfig("no command specified: set command in the pod, or in images.yaml")
    return [expand(rewrite_word(word, mounts), values) for word in words]
