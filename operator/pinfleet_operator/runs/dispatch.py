"""Speaks with agent pods: one long poll each, and the offers, acks and ends of the run loop.

It keeps the store's mirrors up to date and tells the loop which runs a pod's answer is about. It decides nothing: what
an answer means for a run is ``judge``'s business.
"""

import asyncio
from collections.abc import Awaitable, Callable
from sys import intern

import msgspec
import structlog

from pinfleet.wire import Accepted, EndReason, Offer, StateAnswer
from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.api.mirror import PodMirror
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import ClusterError, NotLeader, PodError, PodRefused
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.store import Store
from pinfleet_operator.wire import Pods, PodTarget

RETRY_SECONDS, BROKEN_RETRY_SECONDS = 1.0, 10.0
PAUSE_SECONDS = 0.02  # between polls: what happens meanwhile comes in one answer
CLOSING = frozenset({"full", "draining", "wrong_pod", "wrong_version"})
"""Refusals after which a pod gets no more offers until its next answer."""

log = structlog.get_logger()


class Dispatch:
    """The operator's side of the run protocol's calls."""

    def __init__(
        self,
        *,
        store: Store,
        pods: Pods,
        kube: Kube,
        clock: Clock,
        settings: Settings,
        raise_transitions: Callable[[int], Awaitable[None]],
    ) -> None:
        """Make a dispatch that polls nobody yet.

        Args:
            store: holds the mirrors that the answers go into.
            pods: the calls.
            kube: its clock alone.
            clock: for pauses.
            settings: times.
            raise_transitions: called with the leaseTransitions that a pod has seen, above ours.
        """
        self._store, self._pods, self._kube = store, pods, kube
        self._raise_transitions = raise_transitions
        self._clock, self._settings = clock, settings
        self._polls: dict[str, asyncio.Task[None]] = {}
        self.on_runs: list[Callable[[set[str], str], None]] = []  # a pod's answer is about these runs; its uid
        self.on_pod: list[Callable[[PodRecord], None]] = []  # what is known of a pod's health changed

    def start(self) -> None:
        """Poll every pod that can be reached, now and whenever one appears."""
        self._store.pods.on_change.append(self._follow)
        for pod in self._store.pods.all():
            self._follow(None, pod)

    async def stop(self) -> None:
        """End every poll."""
        for task in self._polls.values():
            task.cancel()
        await asyncio.gather(*self._polls.values(), return_exceptions=True)
        self._polls.clear()

    def target(self, pod: PodRecord) -> PodTarget | None:
        """Where and as whom to call a pod; None: it has no address, or its version is not known."""
        version = self._store.versions.get(pod.version_uid)
        if pod.ip is None or version is None or pod.is_terminal or pod.namespace != version.namespace:
            return None  # a pod of another namespace may name our version as its owner: it does not get its token
        return PodTarget(pod_uid=pod.uid, ip=pod.ip, port=version.port, version_uid=version.uid)

    # Calls of the loop

    async def offer(self, pod: PodRecord, uid: str, offer: Offer) -> None:
        """Offer a run; a refusal or silence is noted on the mirror.

        Raises:
            PodError: the pod refused or did not answer.
        """
        target = self._require(pod)
        accepted = await self._call(pod, self._pods.offer(target, uid, offer))
        mirror = self._store.mirror(pod.uid)
        if mirror is not None and mirror.boot == accepted.boot:
            mirror.accepted[uid] = (offer.epoch, accepted.n)
            mirror.forgotten.pop(uid, None)

    async def end(self, pod: PodRecord, uid: str, epoch: int, reason: EndReason) -> None:
        """Tell a pod to end a run; what comes of it follows in its answers.

        Raises:
            PodError: the pod refused or did not answer.
        """
        await self._call(pod, self._pods.end(self._require(pod), uid, epoch, reason))

    async def ack(self, pod: PodRecord, uid: str, epoch: int) -> None:
        """Let a pod forget a run.

        Raises:
            PodError: the pod refused or did not answer.
        """
        try:
            accepted = await self._call(pod, self._pods.ack(self._require(pod), uid, epoch))
        except PodRefused as refusal:
            if refusal.code == "unknown_run":  # it forgot the run before; its next full answer shows it
                self._forget(pod, uid, epoch)
                return
            raise
        mirror = self._store.mirror(pod.uid)
        if mirror is not None and mirror.boot == accepted.boot:
            self._forget(pod, uid, epoch)
            mirror.forgotten[uid] = accepted.n

    def _forget(self, pod: PodRecord, uid: str, epoch: int) -> None:
        mirror = self._store.mirror(pod.uid)
        if mirror is not None:
            listing = mirror.runs.get(uid)
            if listing is not None and listing.epoch <= epoch:
                del mirror.runs[uid]
            mirror.accepted.pop(uid, None)
            self._tell_pod(pod)

    def _require(self, pod: PodRecord) -> PodTarget:
        target = self.target(pod)
        if target is None:
            raise PodError(f"cannot call pod {pod.namespace}/{pod.name}: it has no address")
        return target

    async def _call(self, pod: PodRecord, call: Awaitable[Accepted]) -> Accepted:
        try:
            return await call
        except PodRefused as refusal:
            await self._note_refusal(pod, refusal)
            raise
        except PodError:
            self._note_failure(pod)
            self._ask_again(pod)
            raise

    async def _note_refusal(self, pod: PodRecord, refusal: PodRefused) -> None:
        mirror = self._store.mirror(pod.uid)
        if refusal.code in CLOSING and mirror is not None:
            mirror.refuses = True
            self._tell_pod(pod)
        if refusal.code == "stale_leader" and isinstance(refusal.value, int):
            await self._raise_transitions(refusal.value)

    # Polls

    def _follow(self, old: PodRecord | None, new: PodRecord | None) -> None:
        pod = new or old
        if pod is None:
            return
        if new is None or new.is_terminal:
            task = self._polls.pop(pod.uid, None)
            if task is not None:
                task.cancel()
        elif new.ready and old is not None and not old.ready and pod.uid in self._polls:
            self._ask_again(pod)  # it was asked in vain while it started
        elif pod.uid not in self._polls and new.ip is not None and new.version_uid:
            self._polls[pod.uid] = asyncio.create_task(self._poll(pod.uid), name=f"poll {pod.name}")

    def _ask_again(self, pod: PodRecord) -> None:
        """A call was lost: ask at once whether the pod answers, instead of after the long poll that is under way."""
        task = self._polls.get(pod.uid)
        if task is not None:
            task.cancel()
            self._polls[pod.uid] = asyncio.create_task(self._poll(pod.uid), name=f"poll {pod.name}")

    async def _poll(self, pod_uid: str) -> None:
        while True:
            pod = self._store.pods.get(pod_uid)
            target = self.target(pod) if pod is not None else None
            if pod is None or target is None:
                await self._clock.sleep(RETRY_SECONDS)
                continue
            try:
                await self._clock.sleep(await self._poll_once(pod, target))
            except PodError as err:
                log.debug("poll_failed", pod=pod.name, namespace=pod.namespace, cause=str(err))
                self._note_failure(pod)
                if isinstance(err, PodRefused):
                    await self._hear_refused_poll(pod, err)
                await self._clock.sleep(RETRY_SECONDS)
            except Exception:  # a poll that ends in silence would leave its pod's runs to themselves: INV-18
                log.exception("poll_broken", pod=pod.name, namespace=pod.namespace)
                self._note_failure(pod)
                await self._clock.sleep(BROKEN_RETRY_SECONDS)

    async def _poll_once(self, pod: PodRecord, target: PodTarget) -> float:
        """One question and its answer; returns the pause before the next."""
        mirror = self._store.mirror(pod.uid)
        known = mirror if mirror is not None and mirror.has_answered else None
        asked_n, began = known.n if known else 0, self._clock.boottime()
        wait = self._settings.poll_seconds if known and known.failing_since is None else 0
        answer = await self._pods.state(target, after=asked_n, boot=known.boot if known else "", wait_seconds=wait)
        self._take(pod, answer)
        is_hasty = answer.n <= asked_n and self._clock.boottime() - began < RETRY_SECONDS  # it does not wait as asked
        return RETRY_SECONDS if is_hasty else PAUSE_SECONDS

    async def _hear_refused_poll(self, pod: PodRecord, refusal: PodRefused) -> None:
        """A pod that has seen a higher term refuses polls too, and gets no offer whose refusal would say so."""
        try:
            await self._note_refusal(pod, refusal)
        except (ClusterError, NotLeader) as err:  # the next poll asks again; a write ends a process that lost the Lease
            log.debug("transitions_not_raised", pod=pod.name, namespace=pod.namespace, cause=str(err))

    def _note_failure(self, pod: PodRecord) -> None:
        mirror = self._store.mirror(pod.uid)
        if mirror is None:
            mirror = PodMirror(pod_uid=pod.uid, version="", boot="", n=0, capacity=0, answered_at=pod.created_at)
            self._store.set_mirror(mirror)
        if mirror.failing_since is None:
            mirror.failing_since = self._kube.server_now()
            self._tell_pod(pod)
            self._tell_runs(set(mirror.runs) | self._store.runs.assigned_to(pod.uid), pod)

    def _take(self, pod: PodRecord, answer: StateAnswer) -> None:
        mirror = self._store.mirror(pod.uid)
        now = self._kube.server_now()
        if mirror is None or mirror.boot != answer.boot:
            touched = set(mirror.runs) if mirror is not None else set()
            mirror = PodMirror(
                pod_uid=pod.uid, version=answer.version, boot=answer.boot, n=answer.n, capacity=0, answered_at=now
            )
            self._store.set_mirror(mirror)
            touched |= self._store.runs.assigned_to(pod.uid)
            changed = True
        else:
            touched = set()
            changed = mirror.failing_since is not None or mirror.refuses or mirror.draining != answer.draining
            if changed:
                touched |= self._store.runs.assigned_to(pod.uid)
        holds = (mirror.capacity, set(mirror.runs))
        touched |= hear(mirror, answer)
        mirror.answered_at, mirror.failing_since, mirror.refuses = now, None, False
        if changed or holds != (mirror.capacity, set(mirror.runs)):
            self._tell_pod(pod)
        self._tell_runs(touched, pod)

    def _tell_pod(self, pod: PodRecord) -> None:
        for listener in self.on_pod:
            listener(pod)

    def _tell_runs(self, uids: set[str], pod: PodRecord) -> None:
        for listener in self.on_runs:
            listener(uids, pod.uid)


def hear(mirror: PodMirror, answer: StateAnswer) -> set[str]:
    """Take a pod's answer into its mirror; returns the runs that it is about.

    An answer older than the mirror is ignored, whole; a listing older than our own ack of it, alone: a poll may be
    answered late, twice, or out of order.
    """
    if answer.n < mirror.n:
        return set()
    for each in answer.runs:
        msgspec.structs.force_setattr(each, "uid", intern(each.uid))  # the text that the store has, and no copy of it
    touched = {uid for uid, (_, n) in mirror.accepted.items() if mirror.n < n <= answer.n}
    listings = {
        each.uid: each
        for each in answer.runs
        if each.uid not in mirror.forgotten or answer.n >= mirror.forgotten[each.uid]
    }
    if answer.full:
        touched |= set(mirror.runs) | set(listings)
        mirror.runs = listings
    else:
        touched |= set(listings)
        mirror.runs.update(listings)
    mirror.n, mirror.capacity, mirror.draining = answer.n, answer.capacity, answer.draining
    mirror.forgotten = {uid: n for uid, n in mirror.forgotten.items() if n > answer.n}
    return touched
