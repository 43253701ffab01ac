"""Versions whose open runs all sleep: they hold no pods until one is to be woken. Pure.

What the store shows may lag: before the last pod goes, a consistent LIST says that every open run is parked or held,
begun after every assignment in flight has settled (rule 7). A run that is seen awake afterwards makes that void.

A version whose pods keep their own journals does not sleep: what its runs recorded would go with the last pod.
"""

from datetime import timedelta
from typing import Final

from pinfleet_operator.plan.actions import ConfirmAsleep, Steps
from pinfleet_operator.plan.leaving import Stage
from pinfleet_operator.plan.roles import Role
from pinfleet_operator.plan.world import VersionView, World

AHEAD: Final = timedelta(seconds=30)  # a wait that is due so soon keeps a pod, or gets one, so that it finds it ready


def is_asleep(world: World, version: VersionView) -> bool:
    """Whether every open run of the version waits, as far as the store shows, and none for a moment that is near."""
    counts, wakes_at = version.counts, version.next_due_at
    if counts.open == 0 or counts.open > counts.parked + counts.held or version.due > 0:
        return False
    return wakes_at is None or wakes_at > world.now + AHEAD


def may_sleep(world: World, version: VersionView, role: Role, stage: Stage | None) -> bool:
    """Whether the version may go without pods once its runs are known for certain to sleep."""
    spec = world.fleet.spec if world.fleet is not None else None
    if role is Role.CANDIDATE or not version.record.keeps_journal or not is_asleep(world, version):
        return False
    if role is Role.ACTIVE:
        has_new = world.unpinned > 0 and spec is not None and not spec.paused
        return spec is not None and spec.replicas == 0 and not has_new
    return stage is Stage.SERVING


def sleeping_pods(version: VersionView) -> int:
    """Pods of a version that may sleep: none once that is certain; until then one, if there is one."""
    return 0 if version.is_confirmed_asleep else min(1, len(version.live))


def sleep_steps(world: World, version: VersionView, role: Role, stage: Stage | None) -> Steps:
    """Make certain that the runs sleep, once nothing else keeps the pods; look again in time for the next wait."""
    if version.counts.open == 0:
        return Steps()
    wakes_at = version.next_due_at
    moments = () if wakes_at is None else (wakes_at - AHEAD, wakes_at)
    again = Steps(again_at=min((at for at in moments if at > world.now), default=None))
    if not may_sleep(world, version, role, stage) or version.is_confirmed_asleep or not version.live:
        return again
    empty = [pod.empty_since for pod in version.live if pod.runs == 0 and pod.empty_since is not None]
    if len(empty) < len(version.live):
        return again
    kept_until = max(empty) + timedelta(seconds=world.settings.empty_seconds if role is Role.ACTIVE else 0)
    if kept_until > world.now:
        return again + Steps(again_at=kept_until)
    return again + Steps((ConfirmAsleep(version.id, version.record.uid),), world.now)
