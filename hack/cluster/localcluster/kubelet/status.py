"""A pod's status from what is known of its containers: pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from localcluster.kubelet.api import Object
from localcluster.kubelet.records import Ended, Record


@dataclass(frozen=True)
class Facts:
    """What the status is made from, beside the pod."""

    inits: Mapping[str, Record]  # by init container
    containers: Mapping[str, Record]  # by container
    address: str  # the reported pod address; empty before there is one
    host: str  # the node's address
    is_over: bool  # no container will be started again
    is_never_ready: bool  # it misbehaves that way
    begun_at: str  # when the kubelet saw the pod
    before: list[Object]  # the conditions as last written
    now: str  # RFC 3339


def status(pod: Object, facts: Facts) -> Object:
    """The status to report, without conditions of others."""
    phase = _phase(facts)
    found: Object = {
        "phase": phase,
        "hostIP": facts.host,
        "hostIPs": [{"ip": facts.host}],
        "startTime": facts.begun_at,
        "conditions": _conditions(pod, facts, phase),
        "containerStatuses": _containers(pod["spec"]["containers"], facts.containers, facts, pod),
    }
    if pod["spec"].get("initContainers"):
        found["initContainerStatuses"] = _containers(pod["spec"]["initContainers"], facts.inits, facts, pod)
    if facts.address:
        found |= {"podIP": facts.address, "podIPs": [{"ip": facts.address}]}
    if generation := pod["metadata"].get("generation"):
        found["observedGeneration"] = generation
    return found


def _phase(facts: Facts) -> str:
    """Pending until every container was started once; over only when none will start again."""
    if facts.is_over:
        everyone = [*facts.inits.values(), *facts.containers.values()]
        return "Failed" if any(one.ended is None or one.ended.exit_code for one in everyone) else "Succeeded"
    is_begun = all(one.started_at or one.last for one in facts.containers.values())
    return "Running" if is_begun else "Pending"


def is_ready(record: Record, facts: Facts) -> bool:
    """Whether a container is ready."""
    return record.is_running and record.is_ready and not facts.is_never_ready


def _conditions(pod: Object, facts: Facts, phase: str) -> list[Object]:
    """The kubelet's own conditions; the time of one that did not change is kept."""
    unready = [name for name, record in facts.containers.items() if not is_ready(record, facts)]
    pending = [name for name, record in facts.inits.items() if record.ended is None or record.ended.exit_code]
    done = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(phase)
    not_ready = (done or "ContainersNotReady", "" if done else f"containers with unready status: [{' '.join(unready)}]")
    incomplete = ("ContainersNotInitialized", f"containers with incomplete status: [{' '.join(pending)}]")
    ready = None if not unready and not done else not_ready
    wanted = {
        "PodReadyToStartContainers": None if facts.address and not facts.is_over else ("", ""),
        "Initialized": incomplete if pending else None,
        "Ready": ready,
        "ContainersReady": ready,
    }
    before = {item["type"]: item for item in facts.before}
    return [_condition(pod, kind, why, before.get(kind, {}), facts.now) for kind, why in wanted.items()]


def _condition(pod: Object, kind: str, why: tuple[str, str] | None, before: Object, now: str) -> Object:
    """One condition; `why` is None when it is True, else reason and message."""
    value = "True" if why is None else "False"
    same = before.get("status") == value
    reason, message = why or ("", "")
    return {
        "type": kind,
        "status": value,
        "lastProbeTime": None,
        "lastTransitionTime": before.get("lastTransitionTime") or now if same else now,
        "reason": reason or None,  # null removes it in a strategic merge patch
        "message": message or None,
        "observedGeneration": pod["metadata"].get("generation"),
    }


def _containers(specs: list[Object], records: Mapping[str, Record], facts: Facts, pod: Object) -> list[Object]:
    """One entry per container, in the order of the spec."""
    found = []
    is_inits = specs is pod["spec"].get("initContainers")
    for spec in specs:
        record = records[spec["name"]]
        is_done = record.ended is not None and record.ended.exit_code == 0
        entry = {
            "name": spec["name"],
            "image": spec["image"],
            "imageID": f"localcluster://{record.image}" if record.image else "",
            "ready": is_done if is_inits else is_ready(record, facts),
            "started": record.is_running and record.is_started,
            "restartCount": record.restarts,
            "state": _state(record),
            "lastState": {"terminated": _terminated(last)} if (last := _last(record)) else {},
        }
        if record.container_id:
            entry["containerID"] = f"localcluster://{record.container_id}"
        found.append(entry)
    return found


def _last(record: Record) -> Ended | None:
    """The execution before the one that the state shows."""
    return record.ended if record.waiting and record.ended else record.last


def _state(record: Record) -> Object:
    if record.waiting:
        reason, message = record.waiting
        return {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    if record.ended:
        return {"terminated": _terminated(record.ended)}
    return {"running": {"startedAt": record.started_at}}


def _terminated(ended: Ended) -> Object:
    shown: Object = {
        "exitCode": ended.exit_code,
        "reason": ended.reason,
        "startedAt": ended.started_at,
        "finishedAt": ended.finished_at,
        "containerID": f"localcluster://{ended.container_id}",
    }
    return shown | ({"message": ended.message} if ended.message else {})
