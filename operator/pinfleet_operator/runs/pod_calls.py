"""The calls to pods that ``judge`` decided for a run: offers, ends, acks; and the removal of a pod that does neither.

Nothing here decides about the run. What a pod refused is remembered as a hint; the next pass looks at it.
"""

from dataclasses import replace
from itertools import accumulate

import msgspec
import structlog

from pinfleet.wire import InboxMessage, Offer, OfferLimits, Previous
from pinfleet_operator import crash
from pinfleet_operator.api import keys
from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.api.run import Given, RunRecord, decode_run, decode_run_and_given
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.errors import Conflict, NotFound, PodRefused
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import AGENT_RUNS, PODS
from pinfleet_operator.runs.dispatch import Dispatch
from pinfleet_operator.runs.judge.situation import (
    Ack,
    ConfirmAbsent,
    KillPod,
    Refused,
    SendOffer,
    Situation,
    Tell,
    Told,
)
from pinfleet_operator.runs.memory import Memory, Tried
from pinfleet_operator.store import Store

OFFERED_BYTES = 512 * 1024  # of messages in one offer; the others follow once these are seen

log = structlog.get_logger()


class PodCalls:
    """Speaks with one run's pods, one call at a time."""

    def __init__(self, *, store: Store, kube: Kube, dispatch: Dispatch, memory: Memory, settings: Settings) -> None:
        self._store, self._kube, self._dispatch = store, kube, dispatch
        self._memory, self._settings = memory, settings

    async def reoffer(self, s: Situation, action: SendOffer) -> None:
        """Offer a run again to its assigned pod; its input is read anew."""
        run = s.run
        pod = self._store.pods.get(run.pod_uid) if run is not None and run.pod_uid else None
        if run is None or pod is None:
            raise Conflict(f"cannot offer AgentRun {s.uid}: its pod is gone")
        found, given = decode_run_and_given(await self._kube.get(AGENT_RUNS, run.namespace, run.name))
        self._store.runs.put_answer(found)
        if found.uid != run.uid:
            raise Conflict(f"cannot offer AgentRun {run.namespace}/{run.name}: another one has its name")
        if found.epoch == run.epoch and found.phase == "Running":
            await self.offer(s, found, given, pod, action)

    async def offer(self, s: Situation, run: RunRecord, given: Given, pod: PodRecord, action: SendOffer) -> None:
        """Offer a run to a pod at its epoch, with what it has not seen."""
        memory = self._memory.of(run.uid)
        limits = run.limits
        if limits is None or run.version is None:
            raise Conflict(f"cannot offer AgentRun {run.namespace}/{run.name}: it has no pin")
        held_before, keeps_journal = memory.previous_pod, self._keeps_journal(run)
        own = s.own if run.epoch == (s.run.epoch if s.run else 0) else None
        seen = own.messages_seen if own is not None else run.messages_seen if keeps_journal else 0
        messages = fitting(given.messages[seen:])
        decisions = s.decisions
        offer = Offer(
            name=run.name,
            version=run.version,
            epoch=run.epoch,
            attempt=run.attempts,
            input=given.input,
            requester=run.requester or "",
            messages=messages,
            decisions=decisions,
            limits=OfferLimits(
                max_steps=limits.max_steps,
                active_seconds_left=max(0, limits.active_seconds - run.active_seconds),
                max_tokens=limits.max_tokens,
            ),
            deadline=run.deadline_at,
            steps=run.steps if keeps_journal else 0,
            timers_fired=run.timers_fired if self._settings.has_rule("15") else (),
            previous=Previous(pod_uid=held_before, is_gone=self._store.is_gone(held_before)) if held_before else None,
            end="attempts" if run.attempts > limits.max_attempts else action.end,
        )
        try:
            await self._dispatch.offer(pod, run.uid, offer)
            crash.point("accepted")
        except PodRefused as refusal:
            if refusal.code == "stale_epoch" and isinstance(refusal.value, int):
                memory.above_epoch = max(memory.above_epoch, refusal.value)
            since = memory.offer_refused.since if memory.offer_refused else self._kube.server_now()
            memory.offer_refused = Refused(since, str(refusal))
            raise
        memory.offer_refused = None
        now, hashes = self._kube.server_now(), frozenset(each.hash for each in decisions)
        memory.offers, memory.offered_at = memory.offers + 1, now
        memory.offered = Tried(run.messages, hashes, seen + len(messages), now).after(memory.offered)

    def _keeps_journal(self, run: RunRecord) -> bool:
        """Whether what the run recorded outlives its pod, so that a journal without it is not its own."""
        version = self._store.find_version((run.namespace, run.fleet, run.version or ""))
        return version is not None and version.keeps_journal

    async def tell(self, s: Situation, action: Tell) -> None:
        """Tell a pod to end a run."""
        pod = self._store.pods.get(action.pod_uid)
        if pod is None:
            return
        memory, told = self._memory.of(s.uid), Told(action.pod_uid, action.epoch, at=s.now, is_delivered=False)
        memory.note_told(told)
        await self._dispatch.end(pod, s.uid, action.epoch, action.reason)
        memory.note_told(replace(told, is_delivered=True))

    async def ack(self, s: Situation, action: Ack) -> None:
        """Let a pod forget a run."""
        pod = self._store.pods.get(action.pod_uid)
        if pod is not None:
            await self._dispatch.ack(pod, s.uid, action.epoch)

    async def kill(self, action: KillPod) -> None:
        """Cordon and delete a pod, each with the precondition that nobody changed it."""
        pod = self._store.pods.get(action.pod_uid)
        if pod is None or pod.deleting:
            return
        self._store.close_pod(pod.uid)
        label = {"metadata": {"resourceVersion": str(pod.resource_version), "labels": {keys.LABEL_CORDONED: "true"}}}
        cordoned = self._store.put_pod(
            await self._kube.merge_patch(PODS, pod.namespace, pod.name, msgspec.json.encode(label))
        )
        log.warning("pod_killed", pod=pod.name, namespace=pod.namespace, why="it neither ends a run nor answers")
        await self._kube.delete(
            PODS, pod.namespace, pod.name, uid=pod.uid, resource_version=str(cordoned.resource_version)
        )

    async def confirm_absent(self, s: Situation, action: ConfirmAbsent) -> None:
        """Ask consistently whether a uid that a pod lists exists."""
        pod = self._store.pods.get(action.pod_uid)
        if pod is None:
            return
        memory = self._memory.of(s.uid)
        try:
            found = decode_run(await self._kube.get(AGENT_RUNS, pod.namespace, action.name))
        except NotFound:
            memory.is_absent = True
        else:
            memory.is_absent = found.uid != s.uid
            if not memory.is_absent:
                raise Conflict(f"cannot judge AgentRun {pod.namespace}/{action.name}: the watch has not shown it yet")


def fitting(messages: tuple[InboxMessage, ...]) -> tuple[InboxMessage, ...]:
    """The first of the messages that one offer has room for."""
    sizes = accumulate(len(bytes(each.body)) for each in messages)
    return tuple(each for each, size in zip(messages, sizes, strict=True) if size <= OFFERED_BYTES)
