"""How many pods a version should have (run protocol, "Pods of a version"). Pure."""

from math import ceil

from pinfleet_operator.api.models.agent_deployment import AgentDeploymentSpec
from pinfleet_operator.plan.leaving import Stage
from pinfleet_operator.plan.pods import lost_pods, ranked
from pinfleet_operator.plan.roles import Role
from pinfleet_operator.plan.sleeping import may_sleep, sleeping_pods
from pinfleet_operator.plan.world import PodView, VersionView, World


def pods_wanted(world: World, version: VersionView, role: Role, stage: Stage | None) -> int | None:
    """Number of pods that the version should have; None: leave those that are there.

    Args:
        world: what the pass sees.
        version: the version.
        role: its task.
        stage: how far it is on its way out; None unless it leaves.
    """
    spec = world.fleet.spec if world.fleet is not None else None
    if may_sleep(world, version, role, stage):
        return sleeping_pods(version)
    if role is Role.LEAVING:
        return _leaving(world, version, _most(spec), stage)
    if spec is None:
        return None
    if role is Role.CANDIDATE:
        return max(ready_needed(spec), _for_demand(world, version, demand(version), _most(spec)))
    unpinned = 0 if spec.paused else world.unpinned
    return max(spec.replicas, _for_demand(world, version, demand(version) + unpinned, _most(spec)))


def ready_needed(spec: AgentDeploymentSpec) -> int:
    """Pods that must be ready before a version becomes active."""
    return max(1, spec.replicas)


def demand(version: VersionView) -> int:
    """Runs of the version that need a slot: on a pod, waiting for one, or parked with a timer due."""
    return version.counts.running + version.counts.pending + version.due


def _for_demand(world: World, version: VersionView, runs: int, most: int) -> int:
    """Enough pods for the runs, one of them for a run that goes alone; one, as long as a run of the version is open."""
    floor = 1 if version.counts.open > 0 else 0
    shared = tuple(pod for pod in _serving(world, version) if not pod.is_taken_alone)
    pods = _enough(shared, runs - version.alone, version.record.runs_per_pod) + min(1, version.alone)
    return max(floor, min(most, pods))


def _serving(world: World, version: VersionView) -> tuple[PodView, ...]:
    """The version's pods that are not lost, in the order in which they are kept."""
    lost = lost_pods(world, version)
    return ranked(tuple(pod for pod in version.live if pod not in lost))


def _enough(pods: tuple[PodView, ...], runs: int, runs_per_pod: int) -> int:
    """How many pods have slots for the runs: of these the first, then new ones. Slots that hang take no run."""
    for place, pod in enumerate(pods):
        if runs <= 0:
            return place
        runs -= pod.slots(runs_per_pod)
    return len(pods) + max(0, ceil(runs / runs_per_pod))


def _leaving(world: World, version: VersionView, most: int, stage: Stage | None) -> int | None:
    """The pods that hold runs, and one more while a run has no slot; all of them while zero is not certain."""
    if version.counts.open == 0:
        return 0 if stage is Stage.EMPTY else None
    runs_per_pod = version.record.runs_per_pod
    busy = [pod for pod in version.live if pod.runs > 0]
    held = sum(pod.runs for pod in busy)
    unplaced = max(0, demand(version) - held)
    free = sum(max(0, pod.slots(runs_per_pod) - pod.runs) for pod in busy if not pod.is_taken_alone)
    idle = tuple(pod for pod in _serving(world, version) if pod not in busy)
    waits_alone = version.alone > 0 and not any(pod.is_taken_alone for pod in busy)
    spare = _enough(idle, 1, runs_per_pod) if unplaced > free or waits_alone else 0
    return max(1, min(len(busy) + spare, max(most, len(busy))))


def _most(spec: AgentDeploymentSpec | None) -> int:
    return 1 if spec is None else spec.max_replicas
