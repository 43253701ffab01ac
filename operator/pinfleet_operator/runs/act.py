"""Carries out what ``judge`` decided for a run: one write, or one call to a pod.

Every write carries the resourceVersion of the decision; its answer goes into the store. Whatever fails is looked at
again from scratch: nothing here retries, and nothing here decides about the run.
"""

import asyncio
from collections.abc import Callable
from typing import assert_never

import msgspec
import structlog

from pinfleet_operator import crash
from pinfleet_operator.api import keys
from pinfleet_operator.api.run import ALONE_AT_DEATHS, Limits, RunRecord, decode_run, decode_run_and_given
from pinfleet_operator.api.settings import Settings
from pinfleet_operator.clock import Clock
from pinfleet_operator.errors import ClusterError, Conflict, Rejected, Unavailable
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.kube.resources import AGENT_RUNS
from pinfleet_operator.runs import patch
from pinfleet_operator.runs.approval_writes import ApprovalWrites
from pinfleet_operator.runs.dispatch import Dispatch
from pinfleet_operator.runs.judge.bounds import ending, merge, steps_known
from pinfleet_operator.runs.judge.situation import (
    Ack,
    Action,
    Assign,
    ConfirmAbsent,
    DeleteRun,
    DropApproval,
    JudgeApproval,
    KillPod,
    Pin,
    Report,
    SendOffer,
    Situation,
    Tell,
    WriteEnd,
    WriteHeld,
    WriteParked,
    WritePending,
)
from pinfleet_operator.runs.memory import Memory, Tried
from pinfleet_operator.runs.place import Seat
from pinfleet_operator.runs.pod_calls import PodCalls
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
        seat: Callable[..., Seat | None],
        clock: Clock,
        settings: Settings,
    ) -> None:
        """Make one.

        Args:
            store: takes the answers.
            kube: the API server.
            dispatch: the pods.
            memory: takes hints.
            seat: ``Situate.seat``: the pod that takes a run now.
            clock: for pauses.
            settings: the operator's.
        """
        self._store, self._kube, self._seat = store, kube, seat
        self._calls = PodCalls(store=store, kube=kube, dispatch=dispatch, memory=memory, settings=settings)
        self._approvals = ApprovalWrites(store=store, kube=kube)
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
                await self._calls.confirm_absent(s, action)
            case Tell():
                await self._calls.tell(s, action)
            case Ack():
                await self._calls.ack(s, action)
            case KillPod():
                await self._calls.kill(action)
            case JudgeApproval():
                await self._approvals.judge(action)
            case DropApproval():
                await self._approvals.drop(action)
            case SendOffer():
                await self._calls.reoffer(s, action)
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
            if not result:
                raise  # there is nothing in it that another write could leave out: a refusal as any other
            await self._refuse_result(run, action, s, str(err))

    async def _refuse_result(self, run: RunRecord, action: WriteEnd, s: Situation, why: str) -> None:
        failed = WriteEnd("Failed", keys.RESULT_REFUSED, f"the result cannot be stored: {why}", action.listing)
        await self._write(run, patch.end(run, failed, s.now))

    async def _assign(self, s: Situation, action: Assign) -> None:
        run = s.run
        if run is None:
            return
        key = (run.namespace, run.fleet, action.version)
        goes_alone = action.pod_deaths >= ALONE_AT_DEATHS
        seat = self._seat(key, run.uid, goes_alone=goes_alone)
        if seat is None:
            raise Conflict(f"cannot assign AgentRun {s.uid}: the free slot was taken")
        previous = run.pod_uid
        body = patch.assignment(run, action, seat, self._limits(s, run), steps_known(s), s.now)
        answer = await self._write_pin(key, seat.pod.uid, run, body, goes_alone=goes_alone)
        crash.point("woken" if run.phase == "Parked" else "assigned")
        assigned, given = decode_run_and_given(answer)
        memory = self._memory.of(run.uid)
        if run.phase == "Parked":
            woken = Tried(run.messages, frozenset(each.hash for each in s.decisions), run.messages, s.now)
            memory.woken = woken.after(memory.woken)
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
        await self._calls.offer(s, assigned, given, seat.pod, SendOffer(end=ending(s)))

    async def _write_pin(
        self, key: VersionKey, pod_uid: str, run: RunRecord, body: patch.Body, *, goes_alone: bool = False
    ) -> bytes:
        """Write a status that counts toward a version; in flight until its outcome is known (rule 7)."""
        if not self._settings.has_rule("7"):
            return await self._write(run, body)
        token = self._store.flights.begin(key, pod_uid, run.uid, goes_alone=goes_alone)
        try:
            answer = await self._write(run, body)
        except Unavailable:
            outlasting = self._store.flights.outlast(token, lambda: self._has_moved_on(run), self._clock.sleep)
            waiting = asyncio.create_task(outlasting)
            self._outlasting.add(waiting)
            waiting.add_done_callback(self._outlasting.discard)
            raise
        except BaseException:
            await self._store.flights.end(token)
            raise
        await self._store.flights.end(token)
        return answer

    def _has_moved_on(self, run: RunRecord) -> bool:
        """Whether a write that carries the run's resourceVersion can no longer succeed."""
        known = self._store.runs.get(run.uid)
        return known is None or known.resource_version > run.resource_version

    def _limits(self, s: Situation, run: RunRecord) -> Limits:
        if run.limits is not None:
            return run.limits
        merged = merge(s.fleet.limits, run.requested_limits) if s.fleet else None
        if merged is None:
            raise Conflict(f"cannot pin AgentRun {run.namespace}/{run.name}: its fleet is gone or its limits changed")
        return merged
