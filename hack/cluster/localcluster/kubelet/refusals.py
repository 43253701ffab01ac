"""What a pod may ask for and this kubelet cannot do; each is refused by the name of its field.

Accepted and ignored: securityContext, resources, imagePullPolicy, imagePullSecrets, dnsPolicy, dnsConfig, affinity and
everything else that the scheduler or the API server already acted upon, readOnly mounts, tty, stdin.
"""

from localcluster.kubelet.api import Object

_POD_FLAGS = ("hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace")
_POD_VALUES = ("activeDeadlineSeconds", "readinessGates", "resourceClaims", "hostAliases", "ephemeralContainers")
_VOLUMES = ("emptyDir", "secret", "configMap", "downwardAPI", "projected", "persistentVolumeClaim")
_PROJECTIONS = ("secret", "configMap", "downwardAPI", "serviceAccountToken")
_HANDLERS = ("httpGet", "tcpSocket", "exec")
_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


def refusals(spec: Object) -> list[str]:
    """The fields of a pod's spec that are refused; empty when the pod can run."""
    found = [f"spec.{field}" for field in _POD_FLAGS if spec.get(field)]
    found += [f"spec.{field}" for field in _POD_VALUES if spec.get(field)]
    for index, volume in enumerate(spec.get("volumes", [])):
        found += _volume(volume, f"spec.volumes[{index}]")
    for index, container in enumerate(spec.get("initContainers", [])):
        where = f"spec.initContainers[{index}]"
        found += [f"{where}.restartPolicy"] if container.get("restartPolicy") else []
        found += _container(container, where)
    for index, container in enumerate(spec["containers"]):
        found += _container(container, f"spec.containers[{index}]")
    return found


def _volume(volume: Object, where: str) -> list[str]:
    kinds = [key for key in volume if key != "name"]
    found = [f"{where}.{kind}" for kind in kinds if kind not in _VOLUMES]
    for index, source in enumerate(volume.get("projected", {}).get("sources", [])):
        found += [f"{where}.projected.sources[{index}].{kind}" for kind in source if kind not in _PROJECTIONS]
        found += _items(source.get("downwardAPI", {}), f"{where}.projected.sources[{index}].downwardAPI")
    return found + _items(volume.get("downwardAPI", {}), f"{where}.downwardAPI")


def _items(source: Object, where: str) -> list[str]:
    return [
        f"{where}.items[{index}].resourceFieldRef"
        for index, item in enumerate(source.get("items", []))
        if "resourceFieldRef" in item
    ]


def _container(container: Object, where: str) -> list[str]:
    found = [
        f"{where}.env[{index}].valueFrom.{kind}"
        for index, entry in enumerate(container.get("env", []))
        for kind in entry.get("valueFrom") or {}
        if kind not in ("fieldRef", "secretKeyRef", "configMapKeyRef")
    ]
    found += [f"{where}.{field}" for field in ("volumeDevices", "restartPolicyRules") if container.get(field)]
    found += [
        f"{where}.volumeMounts[{index}].subPathExpr"
        for index, mount in enumerate(container.get("volumeMounts", []))
        if mount.get("subPathExpr")
    ]
    found += [
        f"{where}.ports[{i}].hostPort" for i, port in enumerate(container.get("ports", [])) if port.get("hostPort")
    ]
    for probe in _PROBES:
        handlers = [key for key in container.get(probe) or {} if key in ("grpc", *_HANDLERS)]
        found += [f"{where}.{probe}.{handler}" for handler in handlers if handler not in _HANDLERS]
    lifecycle = container.get("lifecycle") or {}
    found += [f"{where}.lifecycle.{hook}" for hook in lifecycle if hook != "preStop"]
    found += [f"{where}.lifecycle.preStop.{kind}" for kind in lifecycle.get("preStop") or {} if kind != "exec"]
    return found
