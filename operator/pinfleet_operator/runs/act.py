"""Carries out what ``judge`` decided for a run: one write, or one call to a pod.

Every write carries the resourceVersion of the decision; its answer goes into the store. Whatever fails is looked at
again from scratch: nothing here retries, and nothing here decides about the run.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import assert_never

import msgspec
import structlog

from pinfleet.wire import Offer, OfferLimits, Previous
from pinfleet_operator import crash
from pinfleet_operator.api import keys
from pinfleet_operator.api.child import PodRecord
from pinfleet_operator.api.run import Limits, RunRecord, decode_run, decode_run_and_input
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import ClusterError, Conflict, NotFound, PodRefused, Rejected, Unavailable
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import AGENT_RUNS, PODS
from pinfleet_operator.runs import patch
from pinfleet_operator.runs.dispatch import Dispatch
from pinfleet_operator.runs.judge.bounds import ending, merge, steps_known
from pinfleet_operator.runs.judge.situation import (
    Ack,
    Action,
    Assign,
    ConfirmAbsent,
    DeleteRun,
    KillPod,
    Pin,
    Refused,
    Report,
    SendOffer,
    Situation,
    Tell,
    Told,
    WriteEnd,
    WriteHeld,
    WriteParked,
    WritePending,
)
from pinfleet_operator.runs.memory import Memory
from pinfleet_operator.runs.place import Seat, place
from pinfleet_operator.store import Store, VersionKey

log = structlog.get_logger()


class Act:
    """Executes actions for one run at a time."""

    def __init__(
        self,
        *,
        store: Store,
        kube: Kube,
        dispatch: Dispatch,
        memory: Memory,
        seats: Callable[[VersionKey], list[Seat]],
        clock: Clock,
        settings: Settings,
    ) -> None:
        """Make one.

        Args:
            store: takes the answers.
            kube: the API server.
            dispatch: the pods.
            memory: takes hints.
            seats: every pod of a version, with what is taken on it.
            clock: for pauses.
            settings: the operator's.
        """
        self._store, self._kube, self._dispatch, self._seats = store, kube, dispatch, seats
        self._memory, self._clock, self._settings = memory, clock, settings
        self._outlasting: set[asyncio.Task[None]] = set()

    async def carry_out(self, s: Situation, action: Action) -> None:
        """Do one action.

        Raises:
            ClusterError: the API server refused, or its answer is unknown; look again.
            PodError: the pod refused or did not answer; look again.
        """
        match action:
            case ConfirmAbsent():
                await self._confirm_absent(s, action)
            case Tell():
                await self._tell(s, action)
            case Ack():
                await self._ack(s, action)
            case KillPod():
                await self._kill(action)
            case SendOffer():
                await self._reoffer(s, action)
            case Assign():
                await self._assign(s, action)
            case _:
                if s.run is not None:
                    await self._change(s, s.run, action)

    # Writes

    async def _change(
        self,
        s: Situation,
        run: RunRecord,
        action: Pin | WriteEnd | WriteParked | WriteHeld | WritePending | Report | DeleteRun,
    ) -> None:
        now = s.now
        match action:
            case Pin():
                key = (run.namespace, run.fleet, action.version)
                await self._write_pin(key, "", run, patch.pin(run, action.version, self._limits(s, run), now))
                return
            case WriteEnd():
                await self._end(run, action, s)
                return
            case WriteParked():
                await self._write(run, patch.parked(run, action, now))
                crash.point("parked")
                return
            case WriteHeld():
                body = patch.held(run, action, now)
            case WritePending():
                body = patch.pending(run, action, steps_known(s), now)
            case Report():
                body = patch.report(run, action, now)
                self._memory.of(run.uid).reported_at = now
            case DeleteRun():
                await self._kube.delete(
                    AGENT_RUNS, run.namespace, run.name, uid=run.uid, resource_version=str(run.resource_version)
                )
                return
            case _:
                assert_never(action)
        await self._write(run, body)

    async def _write(self, run: RunRecord, body: patch.Body) -> bytes:
        """Patch the status; after anything but a clear yes, read what stands there."""
        result = body.get("result")
        has_null = isinstance(result, msgspec.Raw) and patch.holds_null(msgspec.json.decode(result))
        send = self._kube.json_patch if has_null else self._kube.merge_patch
        content = patch.encode_operations(run, body) if has_null else patch.encode(run, body)
        try:
            answer = await send(AGENT_RUNS, run.namespace, run.name, content, subresource="status")
        except Rejected:
            raise
        except ClusterError:
            await self._refresh(run)
            raise
        self._store.runs.put_answer(decode_run(answer))
        return answer

    async def _refresh(self, run: RunRecord) -> None:
        try:
            self._store.runs.put_answer(decode_run(await self._kube.get(AGENT_RUNS, run.namespace, run.name)))
        except ClusterError as err:
            log.debug("refresh_failed", run=run.name, namespace=run.namespace, cause=str(err))

    async def _end(self, run: RunRecord, action: WriteEnd, s: Situation) -> None:
        outcome = action.listing.outcome if action.listing else None
        result = bytes(outcome.result) if outcome else b""
        why = patch.why_refused(result) if result else None
        if why is not None:
            await self._refuse_result(run, action, s, why)
            return
        try:
            await self._write(run, patch.end(run, action, s.now))
            crash.point("ended")
        except Rejected as err:
            await self._refuse_result(run, action, s, str(err))

    async def _refuse_result(self, run: RunRecord, action: WriteEnd, s: Situation, why: str) -> None:
        failed = WriteEnd("Failed", keys.RESULT_REFUSED, f"the result cannot be stored: {why}", action.listing)
        await self._write(run, patch.end(run, failed, s.now))

    async def _assign(self, s: Situation, action: Assign) -> None:
        run = s.run
        if run is None:
            return
        key = (run.namespace, run.fleet, action.version)
        seat = place(self._seats(key))
        if seat is None:
            raise Conflict(f"cannot assign AgentRun {s.uid}: the free slot was taken")
        previous = run.pod_uid
        body = patch.assignment(run, action, seat, self._limits(s, run), steps_known(s), s.now)
        answer = await self._write_pin(key, seat.pod.uid, run, body)
        crash.point("woken" if action.wake else "assigned")
        assigned, given = decode_run_and_input(answer)
        memory = self._memory.of(run.uid)
        memory.assigned(previous)
        log.info(
            "assigned",
            run=run.name,
            namespace=run.namespace,
            version=action.version,
            pod=seat.pod.name,
            epoch=assigned.epoch,
            attempt=assigned.attempts,
        )
        await self._offer(assigned, given, seat.pod, SendOffer(end=ending(s)))

    async def _write_pin(self, key: VersionKey, pod_uid: str, run: RunRecord, body: patch.Body) -> bytes:
        """Write a status that counts toward a version; in flight until its outcome is known (rule 7)."""
        if not self._settings.has_rule("7"):
            return await self._write(run, body)
        token = self._store.begin_assignment(key, pod_uid, run.uid)
        try:
            answer = await self._write(run, body)
        except Unavailable:
            waiting = asyncio.create_task(self._store.outlast_assignment(token, run, self._clock.sleep))
            self._outlasting.add(waiting)
            waiting.add_done_callback(self._outlasting.discard)
            raise
        except BaseException:
            await self._store.end_assignment(token)
            raise
        await self._store.end_assignment(token)
        return answer

    def _limits(self, s: Situation, run: RunRecord) -> Limits:
        if run.limits is not None:
            return run.limits
        merged = merge(s.fleet.limits, run.requested_limits) if s.fleet else None
        if merged is None:
            raise Conflict(f"cannot pin AgentRun {run.namespace}/{run.name}: its fleet is gone or its limits changed")
        return merged

    # Pods

    async def _reoffer(self, s: Situation, action: SendOffer) -> None:
        run = s.run
        pod = self._store.pods.get(run.pod_uid) if run is not None and run.pod_uid else None
        if run is None or pod is None:
            raise Conflict(f"cannot offer AgentRun {s.uid}: its pod is gone")
        found, given = decode_run_and_input(await self._kube.get(AGENT_RUNS, run.namespace, run.name))
        self._store.runs.put_answer(found)
        if found.uid != run.uid:
            raise Conflict(f"cannot offer AgentRun {run.namespace}/{run.name}: another one has its name")
        if found.epoch == run.epoch and found.phase == "Running":
            await self._offer(found, given, pod, action)

    async def _offer(self, run: RunRecord, given: msgspec.Raw, pod: PodRecord, action: SendOffer) -> None:
        memory = self._memory.of(run.uid)
        limits = run.limits
        if limits is None or run.version is None:
            raise Conflict(f"cannot offer AgentRun {run.namespace}/{run.name}: it has no pin")
        held_before = memory.previous_pod
        offer = Offer(
            name=run.name,
            version=run.version,
            epoch=run.epoch,
            attempt=run.attempts,
            input=given,
            limits=OfferLimits(
                max_steps=limits.max_steps, active_seconds_left=max(0, limits.active_seconds - run.active_seconds)
            ),
            deadline=run.deadline_at,
            steps=run.steps if self._keeps_journal(run) else 0,
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
        memory.offers, memory.offered_at = memory.offers + 1, self._kube.server_now()

    def _keeps_journal(self, run: RunRecord) -> bool:
        """Whether what the run recorded outlives its pod, so that a journal without it is not its own."""
        version = self._store.find_version((run.namespace, run.fleet, run.version or ""))
        return version is not None and version.claim_name is not None

    async def _tell(self, s: Situation, action: Tell) -> None:
        pod = self._store.pods.get(action.pod_uid)
        if pod is None:
            return
        told, key = self._memory.of(s.uid).told, (action.pod_uid, action.epoch)
        told.setdefault(key, Told(action.pod_uid, action.epoch, at=s.now, is_delivered=False))
        await self._dispatch.end(pod, s.uid, action.epoch, action.reason)
        told[key] = replace(told[key], is_delivered=True)

    async def _ack(self, s: Situation, action: Ack) -> None:
        pod = self._store.pods.get(action.pod_uid)
        if pod is not None:
            await self._dispatch.ack(pod, s.uid, action.epoch)

    async def _kill(self, action: KillPod) -> None:
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

    async def _confirm_absent(self, s: Situation, action: ConfirmAbsent) -> None:
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


POD_RETRY = timedelta(seconds=1)
"""How soon a call that a pod refused or did not answer is looked at again, if no event comes before."""

