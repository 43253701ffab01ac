"""When a version's next pod may be made, judged by how its last ones fared. Pure.

Dead pods are kept as evidence (and for their logs) until a later pod of the version has been ready for a while; their
number and age give the back-off, so that it outlives the operator. Only refusals leave no object behind; those are
remembered.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import Final

from pinfleet_operator.plan.world import PodView, Refusal, VersionView, World

FIRST_SECONDS: Final = 10.0
LONGEST_SECONDS: Final = 300.0
STEADY_SECONDS: Final = 60.0  # a pod that is ready for this long shows that the version works
ROUNDS_KEPT: Final = 6  # 10 s doubled five times is over five minutes
PODS_PER_ROUND: Final = 5  # of many pods that fail together, this many are kept for each round


def seconds_after(failures: int) -> float:
    """Time from the last failed try to the next one."""
    if failures <= 0:
        return 0.0
    return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** (min(failures, ROUNDS_KEPT) - 1))


def evidence(world: World, version: VersionView) -> tuple[PodView, ...]:
    """Dead pods that speak against the version: not disrupted, younger than its youngest steady pod; newest first."""
    since = world.ago(STEADY_SECONDS)
    steady = [p.record.created_at for p in version.live if p.is_ready and (p.record.ready_since or world.now) <= since]
    dead = [p for p in version.pods if p.record.is_terminal and not p.record.disrupted]
    if steady:
        dead = [p for p in dead if p.record.created_at > max(steady)]
    return tuple(sorted(dead, key=lambda p: (p.record.created_at, p.record.name), reverse=True))


def rounds_failed(world: World, version: VersionView, wanted: int) -> int:
    """How often the version's pods died, where several that die together count once."""
    return ceil(len(evidence(world, version)) / _per_round(wanted))


def kept_dead(world: World, version: VersionView, wanted: int) -> frozenset[str]:
    """Uids of the dead pods that stay as evidence: none once the version wants no pods."""
    if wanted == 0:
        return frozenset()
    kept = evidence(world, version)[: ROUNDS_KEPT * _per_round(wanted)]
    return frozenset(pod.record.uid for pod in kept)


def steady_at(world: World, version: VersionView) -> datetime | None:
    """When the next of its pods will have been ready for long enough to clear the dead before it; None: none will."""
    ready = (pod.record.ready_since for pod in version.live if pod.is_ready)
    times = (since + timedelta(seconds=STEADY_SECONDS) for since in ready if since is not None)
    return min((at for at in times if at > world.now), default=None)


def next_pod_at(world: World, version: VersionView, wanted: int) -> datetime:
    """When the version's next pod may be made; not after `now`: at once."""
    times = [world.now]
    dead = evidence(world, version)
    if dead:
        wait = seconds_after(rounds_failed(world, version, wanted))
        times.append(dead[0].record.created_at + timedelta(seconds=wait))
    if version.refusal is not None:
        times.append(refused_until(version.refusal))
    return max(times)


def refused_until(refusal: Refusal) -> datetime:
    """When a refused pod is tried again."""
    return refusal.last_at + timedelta(seconds=seconds_after(refusal.times))


def _per_round(wanted: int) -> int:
    return max(1, min(wanted, PODS_PER_ROUND))
