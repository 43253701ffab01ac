"""What an author's pod template may not set: what pinfleet owns, and rights that the author may not have. Pure.

The operator makes an author's pods with its own right to make any: whatever it lets through here, everybody who may
write an AgentDeployment may do. Agent pods hold no Kubernetes credentials and nothing of their node. ``render`` calls
`refuse` before it adds its own parts; versions that exist are not judged again.
"""

from collections.abc import Callable, Iterator
from typing import Final

from pydantic import JsonValue

from pinfleet_operator.api import keys
from pinfleet_operator.errors import BadManifest

Json = dict[str, JsonValue]

TOKEN_VOLUME: Final = "pinfleet-token"  # noqa: S105 - a name, not a secret
STATE_VOLUME: Final = "pinfleet-state"
RESERVED_ENV_PREFIX: Final = "PINFLEET_"
POD: Final = "spec.template.spec"
CONTAINER_LISTS: Final = ("containers", "initContainers", "ephemeralContainers")
HOST_FIELDS: Final = ("hostNetwork", "hostPID", "hostIPC")


def refuse(pod: Json, agent: Json) -> None:
    """Return if the template may be used.

    Args:
        pod: its spec.
        agent: the container in it that speaks the run protocol.

    Raises:
        BadManifest: says what is set that may not be, and what to write.
    """
    for rule in AGENT_RULES:
        rule(agent)
    for rule in POD_RULES:
        rule(pod)


def objects(value: JsonValue, path: str) -> Iterator[Json]:
    """The objects of a list."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise bad(f"{path} must be a list of objects")
    for each in value:
        yield an_object(each, path)


def an_object(value: JsonValue, path: str) -> Json:
    """The value, which must be an object."""
    if not isinstance(value, dict):
        raise bad(f"{path} must be an object")
    return value


def bad(message: str) -> BadManifest:
    """The error of a template that cannot be used."""
    return BadManifest(keys.INVALID_TEMPLATE, message)


def _reserved_env(agent: Json) -> None:
    for env in objects(agent.get("env") or [], "env of the agent's container"):
        name = str(env.get("name"))
        if name.startswith(RESERVED_ENV_PREFIX):
            raise bad(f"the agent's container sets {name}: {RESERVED_ENV_PREFIX}* is set by pinfleet; remove it")


def _reserved_mounts(agent: Json) -> None:
    for mount in objects(agent.get("volumeMounts") or [], "volumeMounts of the agent's container"):
        path = str(mount.get("mountPath")).rstrip("/")
        if path in {keys.TOKEN_DIR, keys.STATE_DIR}:
            raise bad(f"the agent's container mounts a volume at {path}, where pinfleet mounts its own: choose another")


def _reserved_volumes(pod: Json) -> None:
    for volume in _volumes(pod):
        if str(volume.get("name")) in {TOKEN_VOLUME, STATE_VOLUME}:
            raise bad(f"{POD}.volumes has {volume['name']}, a name of pinfleet's own: choose another")


def _restarts(pod: Json) -> None:
    if pod.get("restartPolicy", "Never") != "Never":
        raise bad(
            f"{POD}.restartPolicy is {pod['restartPolicy']}: agent pods are never restarted in place, "
            "a new pod takes over; remove it or write Never"
        )


def _credentials(pod: Json) -> None:
    why = "agent pods hold no Kubernetes credentials"
    if pod.get("automountServiceAccountToken"):
        raise bad(f"{POD}.automountServiceAccountToken is true: {why}; remove it")
    for field in ("serviceAccountName", "serviceAccount"):
        if str(pod.get(field) or "default") != "default":
            raise bad(f"{POD}.{field} is {pod[field]}: {why}; remove it or write default")
    for volume in _volumes(pod):
        projected = an_object(volume.get("projected") or {}, f"{POD}.volumes.projected")
        for source in objects(projected.get("sources") or [], f"{POD}.volumes.projected.sources"):
            if source.get("serviceAccountToken") is not None:
                raise bad(f"volume {volume.get('name')} projects a serviceAccountToken: {why}; remove that source")


def _host(pod: Json) -> None:
    why = "agent pods have no part in their node"
    for field in HOST_FIELDS:
        if pod.get(field):
            raise bad(f"{POD}.{field} is true: {why}; remove it")
    for volume in _volumes(pod):
        if volume.get("hostPath") is not None:
            raise bad(f"volume {volume.get('name')} is a hostPath: {why}; use an emptyDir or a PersistentVolumeClaim")
    for container in _containers(pod):
        for port in objects(container.get("ports") or [], f"ports of container {container.get('name')}"):
            if port.get("hostPort"):
                raise bad(f"container {container.get('name')} has hostPort {port['hostPort']}: {why}; remove it")


def _privileges(pod: Json) -> None:
    owners = [(POD, pod)] + [(f"container {each.get('name')}", each) for each in _containers(pod)]
    for owner, given in owners:
        context = an_object(given.get("securityContext") or {}, f"securityContext of {owner}")
        added = an_object(context.get("capabilities") or {}, f"capabilities of {owner}").get("add")
        windows = an_object(context.get("windowsOptions") or {}, f"windowsOptions of {owner}")
        if context.get("privileged"):
            raise bad(f"{owner} is privileged: agent pods are not; remove securityContext.privileged")
        if windows.get("hostProcess"):
            raise bad(f"{owner} is a host process: agent pods are not; remove windowsOptions.hostProcess")
        if added:
            names = ", ".join(str(each) for each in added) if isinstance(added, list) else str(added)
            raise bad(
                f"{owner} adds capabilities ({names}): agent pods get none; remove securityContext.capabilities.add"
            )


AGENT_RULES: Final[tuple[Callable[[Json], None], ...]] = (_reserved_env, _reserved_mounts)
POD_RULES: Final[tuple[Callable[[Json], None], ...]] = (
    _reserved_volumes,
    _restarts,
    _credentials,  # the operator may make pods under any service account; their authors may not
    _host,
    _privileges,
)


def _volumes(pod: Json) -> Iterator[Json]:
    return objects(pod.get("volumes") or [], f"{POD}.volumes")


def _containers(pod: Json) -> Iterator[Json]:
    for field in CONTAINER_LISTS:
        yield from objects(pod.get(field) or [], f"{POD}.{field}")
