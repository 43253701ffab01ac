"""What keeps a version's pods from serving, where a person must act. Pure."""

from dataclasses import dataclass
from typing import Final

from pinfleet_operator.api import keys
from pinfleet_operator.plan.backoff import evidence, refused_until, rounds_failed
from pinfleet_operator.plan.pods import is_silent
from pinfleet_operator.plan.world import PodView, VersionView, World

NEVER_READY_SECONDS: Final = 300.0
ROUNDS_OF_A_LOOP: Final = 2  # one death may be an accident
STUCK: Final = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
    }
)
"""Reasons of a waiting container that do not pass by themselves."""


@dataclass(frozen=True)
class Trouble:
    """Why a version has fewer pods that take runs than it should."""

    reason: str  # a condition's reason, from api.keys
    message: str


def trouble_of(world: World, version: VersionView, wanted: int | None) -> Trouble | None:
    """The first trouble that is found; None: the version has its pods, or will have them soon."""
    if wanted is None or version.ready >= wanted:
        return None
    for find in FINDERS:
        found = find(world, version, wanted)
        if found is not None:
            return found
    return None


def _no_claim(world: World, version: VersionView, _wanted: int) -> Trouble | None:
    claim = version.record.claim_name
    if not world.is_claim_missing or claim is None or version.live:
        return None
    return Trouble(
        keys.CLAIM_NOT_FOUND,
        f"spec.state.sqlite.claimName: namespace {world.namespace} has no PersistentVolumeClaim {claim}; create it",
    )


def _unreachable(world: World, version: VersionView, _wanted: int) -> Trouble | None:
    silent = [pod for pod in version.live if is_silent(world, pod)]
    if not silent or not world.reach.is_doubtful:
        return None
    total = world.reach.unreachable + world.reach.answering
    return Trouble(
        keys.PODS_UNREACHABLE,
        f"{world.reach.unreachable} of all {total} pods of the operator do not answer: its own network is the likelier "
        f"fault, so that no pod is deleted; here {_names(silent)}",
    )


def _refused(_world: World, version: VersionView, _wanted: int) -> Trouble | None:
    refusal = version.refusal
    if refusal is None:
        return None
    return Trouble(
        keys.PODS_REFUSED,
        f"{refusal.message} (refused {refusal.times} times in a row, tried again at "
        f"{refused_until(refusal):%Y-%m-%dT%H:%M:%SZ})",
    )


def _stuck(_world: World, version: VersionView, _wanted: int) -> Trouble | None:
    for pod in version.live:
        if pod.record.waiting_reason in STUCK:
            words = f": {pod.record.waiting_message}" if pod.record.waiting_message else ""
            return Trouble(
                keys.PODS_FAILING, f"pod {pod.record.name} does not start: {pod.record.waiting_reason}{words}"
            )
    return None


def _crashing(world: World, version: VersionView, wanted: int) -> Trouble | None:
    if rounds_failed(world, version, wanted) < ROUNDS_OF_A_LOOP:
        return None
    dead = evidence(world, version)
    last = dead[0].record
    words = f": {last.termination_message.strip()}" if last.termination_message.strip() else ""
    code = f" with exit code {last.exit_code}" if last.exit_code is not None else ""
    return Trouble(
        keys.PODS_FAILING, f"{len(dead)} pods ended one after the other, the last, {last.name},{code}{words}"
    )


def _never_ready(world: World, version: VersionView, _wanted: int) -> Trouble | None:
    since = world.ago(NEVER_READY_SECONDS)
    for pod in version.live:
        record = pod.record
        if pod.is_ready or max(record.created_at, record.ready_since or record.created_at) > since:
            continue
        if record.ready:
            return Trouble(
                keys.PODS_FAILING,
                f"pod {record.name} is Ready, but nothing answers the run protocol as version {record.version} on port "
                f"{version.record.port}",
            )
        if not record.scheduled:
            return Trouble(keys.PODS_FAILING, f"pod {record.name} is not scheduled: no node can take it")
        return Trouble(
            keys.PODS_FAILING,
            f"pod {record.name} is not Ready for over {NEVER_READY_SECONDS:.0f} seconds: see its logs, and GET /ready",
        )
    return None


FINDERS: Final = (
    _no_claim,  # no pod is made before it exists
    _unreachable,  # explains every other sign
    _refused,
    _stuck,  # says more than the number of deaths
    _crashing,
    _never_ready,
)


def _names(pods: list[PodView]) -> str:
    return ", ".join(pod.record.name for pod in pods)
