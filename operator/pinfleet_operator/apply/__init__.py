"""Carries out a plan: one request per action, in order, nothing decided here.

Caller: ``reconcile``. Bodies of 2xx answers go into the store. A refused pod is remembered for the next plan and stops
no other action; anything else that fails stops the pass, which is made again from scratch.
"""

from collections.abc import Callable
from typing import assert_never

from pinfleet_operator.apply.children import Children
from pinfleet_operator.apply.fleet import FleetWrites
from pinfleet_operator.errors import ClusterError, Unavailable
from pinfleet_operator.kube.api import Kube
from pinfleet_operator.plan.actions import (
    Action,
    AddFinalizer,
    ClosePod,
    ConfirmAsleep,
    ConfirmEmpty,
    CordonPod,
    CreatePod,
    CreateVersion,
    DeletePod,
    DeleteVersion,
    DropFleet,
    MirrorStatus,
    Plan,
    Promote,
    RemoveFinalizer,
    ReopenPod,
    SetFleet,
    WriteSecret,
    WriteStatus,
)
from pinfleet_operator.plan.memory import Memory
from pinfleet_operator.plan.world import World
from pinfleet_operator.store import Store


class Applier:
    """Executes plans, one fleet's at a time."""

    def __init__(self, *, store: Store, kube: Kube, memory: Memory, token_of: Callable[[str], str]) -> None:
        """Make one.

        Args:
            store: takes the answers.
            kube: the API server.
            memory: of refusals and of writes whose outcome is unknown.
            token_of: a version uid's bearer token (``wire.token_for`` with the operator's key).
        """
        self._store, self._kube, self._memory, self._token_of = store, kube, memory, token_of

    async def apply(self, world: World, plan: Plan) -> bool:
        """Do everything that the plan asks for; returns whether pods were refused, which another pass is to report.

        What fails on one pod does not hold back the others, nor the status.

        Raises:
            ClusterError: an action failed, or is not known to have succeeded.
        """
        memory = self._memory.of((world.namespace, world.name))
        fleet = FleetWrites(self._store, self._kube, memory, world)
        children = Children(self._store, self._kube, memory, world, self._token_of)
        failure: ClusterError | None = None
        for action in plan.actions:
            try:
                await self._do(action, fleet, children)
            except Unavailable:
                raise
            except ClusterError as err:
                if not isinstance(action, CreatePod | WriteSecret | CordonPod | DeletePod):
                    raise
                failure = failure or err
        if failure is not None:
            raise failure
        return bool(children.refused)

    async def _do(self, action: Action, fleet: FleetWrites, children: Children) -> None:
        match action:
            case AddFinalizer() | RemoveFinalizer() | Promote() | WriteStatus() | SetFleet() | DropFleet():
                await fleet.do(action)
            case CreateVersion() | DeleteVersion() | MirrorStatus() | ConfirmEmpty() | ConfirmAsleep() | WriteSecret():
                await children.do_version(action)
            case CreatePod() | CordonPod() | DeletePod():
                await children.do_pod(action)
            case ClosePod():
                self._store.close_pod(action.uid)
            case ReopenPod():
                self._store.reopen_pod(action.uid)
            case _:
                assert_never(action)
