"""From a fleet's template to a version's: what pinfleet adds to an author's pod. Pure.

Called once per version, when it is made; pods are made from the result only, so that an upgrade of the operator changes
no pod. The golden files hold it.
"""

import copy
from typing import Final

from pydantic import JsonValue

from pinfleet_operator.api import keys
from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.plan import naming
from pinfleet_operator.plan.refusals import STATE_VOLUME, TOKEN_VOLUME, Json, an_object, bad, objects, refuse

SAFE_SETTINGS: Final = {"LANGGRAPH_STRICT_MSGPACK": "true"}
"""Settings of frameworks under which a journal cannot smuggle in code; an author's own value stands."""


def render(
    *, fleet: str, fleet_uid: str, version: str, spec: AgentDeploymentSpec, settings: Settings
) -> dict[str, JsonValue]:
    """The pod template of a version: labels and spec, whole.

    Raises:
        BadManifest: the template sets what pinfleet owns, or has no agent's container; says what to write.
    """
    template = copy.deepcopy(spec.template)
    pod = an_object(template.get("spec"), "spec.template.spec")
    agent = _agent(pod)
    refuse(pod, agent)
    _add_env(agent, _env(fleet, version, spec, settings))
    _add_port_and_probe(agent, spec.port)
    _add_volume(pod, agent, TOKEN_VOLUME, keys.TOKEN_DIR, _token_source(fleet, version), is_read_only=True)
    is_secret = spec.state is not None and spec.state.postgres is not None
    _add_volume(pod, agent, STATE_VOLUME, keys.STATE_DIR, _state_source(spec), is_read_only=is_secret)
    pod["restartPolicy"] = "Never"
    pod["automountServiceAccountToken"] = False
    pod.setdefault("enableServiceLinks", False)
    return {"metadata": _metadata(template, fleet, fleet_uid, version), "spec": pod}


def pod_object(
    template: dict[str, JsonValue], *, namespace: str, name: str, owner: dict[str, JsonValue] | None
) -> Json:
    """A pod of a version.

    Args:
        template: the version's, as rendered.
        namespace: where it goes: its version's own.
        name: from ``naming.pod_name``.
        owner: the version's owner reference; None: for a dry run, before the version exists.
    """
    metadata = {**an_object(template.get("metadata"), "template.metadata"), "name": name, "namespace": namespace}
    if owner is not None:
        metadata["ownerReferences"] = [owner]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template.get("spec")}


def owner_reference(name: str, uid: str) -> Json:
    """Owner reference to an AgentVersion: its pods and its Secret go with it."""
    return {
        "apiVersion": keys.API_VERSION,
        "kind": "AgentVersion",
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def own_labels(fleet: str, fleet_uid: str, version: str) -> Json:
    """The labels by which a version's objects are found."""
    return {keys.LABEL_FLEET: fleet, keys.LABEL_FLEET_UID: fleet_uid, keys.LABEL_VERSION: version}


def _metadata(template: Json, fleet: str, fleet_uid: str, version: str) -> Json:
    given = an_object(template.get("metadata") or {}, "spec.template.metadata")
    labels = an_object(given.get("labels") or {}, "spec.template.metadata.labels")
    annotations = an_object(given.get("annotations") or {}, "spec.template.metadata.annotations")
    for kind, names in (("labels", labels), ("annotations", annotations)):
        reserved = sorted(name for name in names if name.startswith(keys.RESERVED_PREFIX))
        if reserved:
            raise bad(
                f"spec.template.metadata.{kind} sets {reserved[0]}: {keys.RESERVED_PREFIX} is reserved; remove it"
            )
    made: Json = {"labels": {**labels, **own_labels(fleet, fleet_uid, version)}}
    if annotations:
        made["annotations"] = annotations
    return made


def _agent(pod: Json) -> Json:
    containers = list(objects(pod.get("containers"), "spec.template.spec.containers"))
    named = [each for each in containers if each.get("name") == keys.AGENT_CONTAINER]
    if named:
        return named[0]
    if len(containers) != 1:
        raise bad(
            f"spec.template.spec has {len(containers)} containers and none is named {keys.AGENT_CONTAINER}: "
            f"name the one that serves the run protocol {keys.AGENT_CONTAINER}"
        )
    return containers[0]


def _env(fleet: str, version: str, spec: AgentDeploymentSpec, settings: Settings) -> list[JsonValue]:
    plain = {
        "PINFLEET_FLEET": fleet,
        "PINFLEET_VERSION": version,
        "PINFLEET_SCHEMA_VERSION": str(spec.schema_version),
        "PINFLEET_TOKEN_FILE": keys.TOKEN_FILE,
        "PINFLEET_PORT": str(spec.port),
        "PINFLEET_RUNS_PER_POD": str(spec.runs_per_pod),
        "PINFLEET_PARK_AFTER_SECONDS": str(settings.park_after_seconds),
        "PINFLEET_CANCEL_GRACE_SECONDS": str(settings.cancel_grace_seconds),
        **_state_env(spec),
    }
    fields = {"PINFLEET_POD_UID": "metadata.uid", "PINFLEET_POD_IP": "status.podIP"}
    made: list[JsonValue] = [{"name": name, "value": value} for name, value in plain.items()]
    made.extend({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items())
    return made


def _add_env(agent: Json, env: list[JsonValue]) -> None:
    """Ours come first, so that an author's ``$(PINFLEET_POD_IP)`` is expanded."""
    given = list(objects(agent.get("env") or [], "env of the agent's container"))
    names = {each.get("name") for each in given}
    safe: list[JsonValue] = [{"name": name, "value": v} for name, v in SAFE_SETTINGS.items() if name not in names]
    agent["env"] = [*env, *safe, *given]


def _add_port_and_probe(agent: Json, port: int) -> None:
    ports = list(objects(agent.get("ports") or [], "ports of the agent's container"))
    if all(each.get("containerPort") != port for each in ports):
        ports.append({"containerPort": port, "protocol": "TCP"})
    agent["ports"] = [*ports]
    agent.setdefault("terminationMessagePolicy", "FallbackToLogsOnError")  # last words of an agent that crashed
    if not agent.get("readinessProbe"):
        agent["readinessProbe"] = {
            "httpGet": {"path": "/ready", "port": port},
            "periodSeconds": 1,
            "timeoutSeconds": 2,
            "failureThreshold": 3,
        }


def _token_source(fleet: str, version: str) -> Json:
    return {"secret": {"secretName": naming.secret_name(fleet, version)}}


def _state_source(spec: AgentDeploymentSpec) -> Json:
    """Where the journal is. Without state it goes with its pod: the agent's code needs one all the same."""
    if spec.state is not None and spec.state.postgres is not None:
        return {"secret": {"secretName": spec.state.postgres.secret_name, "items": [{"key": "url", "path": "url"}]}}
    if spec.state is not None and spec.state.sqlite is not None:
        return {"persistentVolumeClaim": {"claimName": spec.state.sqlite.claim_name}}
    return {"emptyDir": {}}


def _state_env(spec: AgentDeploymentSpec) -> dict[str, str]:
    """Where the agent's code finds its journal, and how long what is in it is kept."""
    if spec.state is not None and spec.state.postgres is not None:
        found = {"PINFLEET_STATE_URL_FILE": keys.STATE_URL_FILE}
    else:
        found = {"PINFLEET_STATE_URL": keys.STATE_FILE}
    if spec.journal_retention_seconds is not None:
        found["PINFLEET_JOURNAL_RETENTION_SECONDS"] = str(spec.journal_retention_seconds)
    return found


def _add_volume(pod: Json, agent: Json, name: str, path: str, source: Json, *, is_read_only: bool) -> None:
    volumes = list(objects(pod.get("volumes") or [], "spec.template.spec.volumes"))
    pod["volumes"] = [*volumes, {"name": name, **source}]
    mount: Json = {"name": name, "mountPath": path}
    if is_read_only:
        mount["readOnly"] = True
    mounts = list(objects(agent.get("volumeMounts") or [], "volumeMounts of the agent's container"))
    agent["volumeMounts"] = [*mounts, mount]
