"""The pods of one version: which are made, closed, cordoned, deleted, buried. Pure.

A pod that holds runs is never chosen, except one that is lost (rule 6). A removal takes two passes or three, each of
which looks again: closed in memory, cordoned once seen empty (at once, where no new run is placed any more), deleted
with the resourceVersion that the cordon gave it.
"""

from datetime import datetime, timedelta
from typing import Final

from pinfleet_operator.plan import naming
from pinfleet_operator.plan.actions import (
    Action,
    ClosePod,
    CordonPod,
    CreatePod,
    DeletePod,
    ReopenPod,
    Steps,
    WriteSecret,
)
from pinfleet_operator.plan.backoff import kept_dead, next_pod_at, refused_until, steady_at
from pinfleet_operator.plan.roles import Role
from pinfleet_operator.plan.world import PodView, VersionView, World

CLAIM_RETRY_SECONDS: Final = 10.0
MOUNT_SECONDS: Final = 15.0
"""A pod that has a node for so long and no address may lack a volume; its image is pulled after it got one."""


def pod_steps(world: World, version: VersionView, role: Role, wanted: int | None) -> Steps:
    """What is to be done with a version's pods.

    Args:
        world: what the pass sees.
        version: the version.
        role: its task.
        wanted: number of pods that it should have; None: those that are there stay.
    """
    lost = lost_pods(world, version)
    rest = tuple(pod for pod in version.live if pod not in lost)
    target = len(rest) if wanted is None else wanted
    kept, surplus = choose(rest, target)
    steps = _tell_token(world, version) + _tell_again(world, version)
    steps += Steps(tuple(ReopenPod(pod.record.uid) for pod in kept if pod.is_closed))
    for pod in lost:
        steps += Steps((_cordon(pod),))
    for pod in surplus:
        steps += _remove(world, pod, role)
    steps += _finish(version, lost_or_empty={pod.record.uid for pod in gone_quiet(world, version)})
    steps += _bury(world, version, target)
    return steps + _create(world, version, target - len(kept), target) + Steps(again_at=_next_loss(world, version))


def choose(live: tuple[PodView, ...], wanted: int) -> tuple[tuple[PodView, ...], tuple[PodView, ...]]:
    """The pods to keep and the pods to remove, as they are `ranked`."""
    ordered = ranked(live)
    kept = [pod for place, pod in enumerate(ordered) if place < wanted or pod.runs > 0]
    return tuple(kept), tuple(pod for pod in ordered if pod not in kept)


def ranked(live: tuple[PodView, ...]) -> tuple[PodView, ...]:
    """The fullest stay, then those that take runs, of them those with most slots, then the first by name."""
    order = sorted(live, key=lambda pod: (-pod.runs, not pod.is_ready, -pod.capacity, _ordinal(pod), pod.record.name))
    return tuple(order)


def lost_pods(world: World, version: VersionView) -> tuple[PodView, ...]:
    """Live pods that are lost (rule 6): silent, not Ready by their kubelet; none while our own network is in doubt."""
    if world.reach.is_doubtful:
        return ()
    return tuple(pod for pod in version.live if is_silent(world, pod) and not pod.record.ready)


def is_silent(world: World, pod: PodView) -> bool:
    """Whether a pod that once served does not answer for too long; one that never served is still starting."""
    served = pod.has_answered or pod.runs > 0
    return (
        served and pod.failing_since is not None and pod.failing_since <= world.ago(world.settings.unreachable_seconds)
    )


def gone_quiet(world: World, version: VersionView) -> tuple[PodView, ...]:
    """Cordoned pods that may be deleted: they hold nothing, or are lost."""
    cordoned = [pod for pod in version.pods if pod.record.cordoned and not pod.record.deleting]
    return tuple(
        pod
        for pod in cordoned
        if not pod.record.is_terminal
        and (pod.is_known_empty or (is_silent(world, pod) and not pod.record.ready and not world.reach.is_doubtful))
    )


def _remove(world: World, pod: PodView, role: Role) -> Steps:
    """The next step of a removal; an active version's pod goes only after it was empty for a while."""
    if role is Role.ACTIVE and not pod.is_closed:
        until = (pod.empty_since or world.now) + timedelta(seconds=world.settings.empty_seconds)
        if until > world.now:
            return Steps(again_at=until)
    closed: tuple[Action, ...] = () if pod.is_closed else (ClosePod(pod.record.uid),)
    if closed and role is Role.ACTIVE:
        return Steps(closed, world.now)  # runs are placed all the time: one may be on its way to it
    if not pod.is_known_empty:
        return Steps(closed)  # its next answer makes the next pass
    return Steps((*closed, _cordon(pod)), world.now)


def _cordon(pod: PodView) -> Action:
    return CordonPod(pod.record.name, pod.record.uid, pod.record.resource_version)


def _delete(pod: PodView) -> Action:
    return DeletePod(pod.record.name, pod.record.uid, pod.record.resource_version)


def _finish(version: VersionView, *, lost_or_empty: set[str]) -> Steps:
    return Steps(tuple(_delete(pod) for pod in version.pods if pod.record.uid in lost_or_empty))


def _bury(world: World, version: VersionView, wanted: int) -> Steps:
    """Delete dead pods whose runs were assigned anew, but for those that tell how long to wait before the next."""
    kept = kept_dead(world, version, wanted)
    dead = [p for p in version.pods if p.record.is_terminal and not p.record.deleting and p.runs == 0]
    again_at = steady_at(world, version) if kept else None
    return Steps(tuple(_delete(pod) for pod in dead if pod.record.uid not in kept), again_at)


def _tell_again(world: World, version: VersionView) -> Steps:
    """Write the Secret again, once for each pod that does not start.

    Somebody may have deleted it, and who may read no Secret hears of it in no other way.
    """
    starting = [pod.record for pod in version.live if pod.record.scheduled and pod.record.ip is None]
    written_at = version.secret_written_at
    if not starting or written_at is None or not _may_create(world, version):
        return Steps()
    due_at = max(pod.created_at for pod in starting) + timedelta(seconds=MOUNT_SECONDS)
    if written_at >= due_at:
        return Steps()
    return Steps(again_at=due_at) if due_at > world.now else Steps((WriteSecret(version.id, version.record.uid),))


def _create(world: World, version: VersionView, missing: int, wanted: int) -> Steps:
    if missing <= 0 or not _may_create(world, version):
        return Steps()
    if world.is_claim_missing and version.record.claim_name is not None and not version.live:
        return Steps(again_at=world.later(CLAIM_RETRY_SECONDS))
    at = next_pod_at(world, version, wanted)
    if at > world.now:
        return Steps(again_at=at)
    record = version.record
    is_told = version.secret_written_at is not None or _has_process(version)
    secret: tuple[Action, ...] = () if is_told else (WriteSecret(record.id, record.uid),)
    pods = tuple(CreatePod(record.id, record.uid, name) for name in _free_names(version, missing))
    return Steps((*secret, *pods))


def _tell_token(world: World, version: VersionView) -> Steps:
    """Write the Secret of pods that are there, once in a process: under another key they would refuse every call.

    They read their token's file again, and answer then.
    """
    if version.secret_written_at is not None or not _has_process(version) or not _may_create(world, version):
        return Steps()
    if version.refusal is not None and (at := refused_until(version.refusal)) > world.now:
        return Steps(again_at=at)
    return Steps((WriteSecret(version.record.id, version.record.uid),))


def _has_process(version: VersionView) -> bool:
    return any(not pod.record.is_terminal for pod in version.pods)


def _may_create(world: World, version: VersionView) -> bool:
    """Whether the API server takes objects that belong to the version."""
    return not (world.is_namespace_ending or version.record.deleting)


def _free_names(version: VersionView, count: int) -> tuple[str, ...]:
    """The first names that no pod object has."""
    taken = {pod.record.name for pod in version.pods}
    names = (naming.pod_name(version.record, ordinal) for ordinal in range(len(taken) + count))
    return tuple(name for name in names if name not in taken)[:count]


def _ordinal(pod: PodView) -> int:
    tail = pod.record.name.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


def _next_loss(world: World, version: VersionView) -> datetime | None:
    """When a pod that is silent now will count as lost."""
    silent = timedelta(seconds=world.settings.unreachable_seconds)
    times = [pod.failing_since + silent for pod in version.live if pod.failing_since is not None]
    return min((at for at in times if at > world.now), default=None)
